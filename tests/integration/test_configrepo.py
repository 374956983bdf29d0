"""The mirror against git itself: what is fetched, written and pushed, and what is said when that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops.committing.edits import Draft, Edit
from gitops.git.configrepo import ConfigRepo
from gitops.layout import place
from pipeline.errors import Conflict, Invalid, NotFound, Unavailable
from tests.support.config_git import Person, bare, git, served

AT = "2026-01-01T00:00:00Z"
WEB = place("shop", "production", "web").path
API = place("shop", "production", "api").path


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return bare(tmp_path)


@pytest.fixture
def url(remote: Path) -> Iterator[str]:
    with served(remote.parent) as address:
        yield f"{address}/{remote.name}"


@pytest.fixture
def repo(tmp_path: Path, url: str) -> ConfigRepo:
    return ConfigRepo(tmp_path / "mirror", url)


def draft(path: str = WEB, message: str = "Deploy\n\nEnclii-Intent: one\n", author: str = "ada", **files: str) -> Draft:
    write = {f"{name}.yaml": text.encode() for name, text in files.items()}
    return Draft(Edit(path, write=write), message, author, AT)


def pushed(repo: ConfigRepo, *drafts: Draft) -> str:
    tip = repo.write(repo.fetch(), drafts)[-1][0]
    repo.push(tip)
    return tip


def test_an_empty_repository_has_no_tip(repo: ConfigRepo) -> None:
    assert repo.fetch() == ""


def test_what_is_pushed_is_what_git_has(repo: ConfigRepo, remote: Path) -> None:
    tip = pushed(repo, draft(a="1"), draft(API, a="2"))
    assert git("rev-parse", "main", cwd=remote) == tip == repo.fetch()
    assert git("ls-tree", "-r", "--name-only", "main", cwd=remote).splitlines() == [f"{API}/a.yaml", f"{WEB}/a.yaml"]
    assert git("fsck", "--strict", cwd=remote) == ""


def test_the_author_is_the_person_and_the_committer_is_enclii(repo: ConfigRepo, remote: Path) -> None:
    pushed(repo, draft(author="Evil <x@y>\n", a="1"))
    assert git("log", "--format=%an|%ae|%cn|%ce", "main", cwd=remote) == (
        "Evil x@y|evil-x-y@users.enclii.invalid|Enclii|enclii@localhost"
    )


def test_a_commit_by_another_hand_has_no_trailers(repo: ConfigRepo, remote: Path, tmp_path: Path) -> None:
    pushed(repo, draft(a="1"))
    person = Person(remote, tmp_path)
    person.write(f"{WEB}/a.yaml", "2")
    commit = person.push("Deploy\n\nEnclii-Intent: one")
    assert not repo.commit(repo.fetch()).ours
    assert repo.commit(commit).author == "operator"


def test_a_rival_who_was_faster_is_a_conflict_and_loses_nothing(repo: ConfigRepo, url: str, tmp_path: Path) -> None:
    rival = ConfigRepo(tmp_path / "rival", url)
    base = pushed(repo, draft(a="1"))
    mine = repo.write(repo.fetch(), [draft(a="2")])[-1][0]
    theirs = pushed(rival, draft(API, a="3"))
    with pytest.raises(Conflict):
        repo.push(mine)
    assert repo.fetch() == theirs
    assert [commit.id for commit in repo.commits(theirs, base) or ()] == [theirs]


def test_a_hook_that_refuses_is_a_conflict(repo: ConfigRepo, remote: Path) -> None:
    hook = remote / "hooks/update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Conflict, match="not today"):
        pushed(repo, draft(a="1"))
    assert repo.fetch() == ""


def test_a_path_is_never_pushed_to(tmp_path: Path, remote: Path) -> None:
    local = ConfigRepo(tmp_path / "local", remote.as_uri())
    with pytest.raises(Invalid):
        pushed(local, draft(a="1"))


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        ConfigRepo(tmp_path / "mirror", "git://127.0.0.1:1/config.git").fetch()


def test_an_edit_touches_nothing_beside_its_directory(repo: ConfigRepo) -> None:
    first = pushed(repo, draft(a="1", b="1"), draft(API, a="1"))
    edit = Edit(WEB, write={"a.yaml": b"2"}, remove=frozenset({"b.yaml"}))
    ((second, tree),) = repo.write(first, [Draft(edit, "m", "ada", AT)])
    assert repo.files(tree) == {"a.yaml": b"2"}
    assert list(repo.changes(first, second)) == [(WEB, tree)]


def test_a_directory_that_is_deleted_leaves_no_empty_parents(repo: ConfigRepo) -> None:
    first = pushed(repo, draft(a="1"))
    ((second, tree),) = repo.write(first, [Draft(Edit(WEB, delete=True), "m", "ada", AT)])
    assert tree == repo.tree(second, "shop") == ""
    assert list(repo.changes(first, second)) == [(WEB, "")]


def test_an_earlier_directory_comes_back_whole(repo: ConfigRepo) -> None:
    first = pushed(repo, draft(a="1", b="1"))
    second = pushed(repo, draft(a="2"))
    old = repo.tree(first, WEB)
    ((_, tree),) = repo.write(second, [Draft(Edit(WEB, base=old), "m", "ada", AT)])
    assert tree == old


def test_a_link_in_a_directory_is_not_followed(repo: ConfigRepo, remote: Path, tmp_path: Path) -> None:
    pushed(repo, draft(a="1"))
    person = Person(remote, tmp_path)
    (person.clone / WEB / "b.yaml").symlink_to("/etc/hostname")
    tip = repo.fetch() if person.push() else ""
    assert sorted(repo.files(repo.tree(tip, WEB))) == ["a.yaml"]


def test_a_chain_that_does_not_lead_back_is_none(repo: ConfigRepo) -> None:
    first = pushed(repo, draft(a="1"))
    ((other, _),) = repo.write("", [draft(a="9")])
    assert repo.commits(first, other) is None
    assert not repo.reaches(first, other)


def test_an_unknown_commit_is_not_found(repo: ConfigRepo) -> None:
    with pytest.raises(NotFound):
        repo.tree("0" * 39 + "1", WEB)


def test_a_lock_that_a_dead_process_left_is_no_obstacle(repo: ConfigRepo, url: str) -> None:
    pushed(repo, draft(a="1"))
    (repo.directory / "refs/heads/main.lock").touch()
    pushed(ConfigRepo(repo.directory, url), draft(a="2"))


def test_a_death_between_the_pack_and_the_push_leaves_the_branch_and_a_whole_mirror(repo: ConfigRepo, url: str) -> None:
    first = pushed(repo, draft(a="1"))
    gone = ConfigRepo(repo.directory, "git://127.0.0.1:1/config.git")
    ((lost, _),) = gone.write(first, [draft(a="2")])
    with pytest.raises(Unavailable):
        gone.push(lost)
    again = ConfigRepo(repo.directory, url)
    assert again.fetch() == first
    assert again.has(lost)
    assert pushed(again, draft(a="2")) == lost
    git("fsck", "--strict", cwd=repo.directory)


def test_what_was_written_and_not_pushed_is_forgotten(repo: ConfigRepo) -> None:
    first = pushed(repo, draft(a="1"))
    ((second, _),) = repo.write(first, [draft(a="2")])
    repo.fetch()
    assert not repo.has(second)


def test_a_submodule_in_a_service_s_place_is_no_directory(repo: ConfigRepo, remote: Path, tmp_path: Path) -> None:
    first = pushed(repo, draft(a="1"))
    person = Person(remote, tmp_path)
    person.pull()
    person.git("update-index", "--add", "--cacheinfo", f"160000,{first},shop/production/api")
    person.git("commit", "-q", "-m", "by hand")
    person.git("push", "-q", "origin", "HEAD:main")
    tip = repo.fetch()
    assert repo.tree(tip, f"{API}/deployment.yaml") == ""
    assert list(repo.changes(first, tip)) == []
