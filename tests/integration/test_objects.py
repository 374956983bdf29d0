"""New objects against git itself: what a pack holds, and what a death in the middle leaves."""

from __future__ import annotations

from pathlib import Path

import pygit2
import pytest

from gitops.committing.edits import Draft, Edit
from gitops.git import gitcommit, pack
from gitops.git.gittree import BLOB, Directory, listing, with_changes
from gitops.git.objects import MANY, Objects
from tests.support.config_git import git


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    pygit2.init_repository(tmp_path / "mirror", bare=True)
    return tmp_path / "mirror"


def committed(objects: Objects, text: str) -> str:
    """A commit with one file; its id."""

    def change(_: Directory) -> Directory:
        return {"a.yaml": (objects.write("blob", text.encode()), BLOB)}

    tree = with_changes(objects, "", "shop/production/web", change)
    draft = Draft(Edit("shop/production/web"), f"Deploy {text}\n", "ada", "2026-01-01T00:00:00Z")
    return objects.write("commit", gitcommit.encode(draft, tree=tree, parent=""))


def test_git_reads_what_was_kept(mirror: Path) -> None:
    objects = Objects(mirror)
    commit = committed(objects, "one")
    objects.keep()
    assert git("show", f"{commit}:shop/production/web/a.yaml", cwd=mirror) == "one"
    git("fsck", "--strict", commit, cwd=mirror)
    git("verify-pack", *map(str, (mirror / "objects/pack").glob("*.idx")), cwd=mirror)


def test_the_same_tree_has_the_id_that_libgit2_gives_it(mirror: Path) -> None:
    objects = Objects(mirror)
    blob = objects.repo.create_blob(b"x")
    builder = objects.repo.TreeBuilder()
    for name, mode in (("a.b", 0o100644), ("a", 0o040000), ("a0", 0o100644)):
        builder.insert(name, builder.write() if mode == 0o040000 else blob, mode)
    there = str(builder.write())
    assert with_changes(objects, "", "top", lambda _: listing(objects, there)) == objects.write(
        "tree", b"40000 top\0" + bytes.fromhex(there)
    )


def test_what_was_not_kept_dies_with_the_process(mirror: Path) -> None:
    commit = committed(Objects(mirror), "one")
    assert commit not in Objects(mirror)
    assert not list((mirror / "objects/pack").iterdir())


@pytest.mark.parametrize("left", [("own-1.new",), ("own-1.pack",), ("own-1.pack", "own-1.new")])
def test_a_pack_that_a_death_left_without_its_index_is_removed(mirror: Path, left: tuple[str, ...]) -> None:
    for name in left:
        (mirror / "objects/pack" / name).write_bytes(b"PACK")
    Objects(mirror)
    assert not list((mirror / "objects/pack").iterdir())


def test_many_packs_become_one_and_lose_nothing(mirror: Path) -> None:
    objects = Objects(mirror)
    commits = []
    for number in range(MANY + 1):
        commits.append(committed(objects, str(number)))
        objects.keep()
    assert len(list((mirror / "objects/pack").glob("*.pack"))) == 2
    assert all(objects.read(commit)[0] == "commit" for commit in commits)
    assert commits[0] in Objects(mirror)
    git("fsck", "--strict", "--full", *commits, cwd=mirror)


def test_a_pack_gives_back_what_it_was_made_of() -> None:
    made = {bytes([number]) * 20: pack.entry("blob", bytes([number]) * 10**number) for number in range(5)}
    assert pack.entries(*pack.pack(made)) == made
