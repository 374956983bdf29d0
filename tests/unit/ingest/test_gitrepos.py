from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ingest.gitrepos import Repositories, RepositoryName, git_environment, requested
from pipeline.errors import Invalid
from tests.support.components import needs

WEB = RepositoryName.of("shop", "web")


@pytest.mark.parametrize("service", ["info/refs", "git-upload-pack", "git-receive-pack"])
def test_a_plain_path_is_a_repository_and_a_service(service: str) -> None:
    assert requested(f"/shop/web.git/{service}".encode()) == (WEB, service)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"/shop/web.git",
        b"/shop/web.git/",
        b"/shop/web.git/HEAD",
        b"/shop/web.git/objects/info/packs",
        b"/shop/web.git/git-upload-archive",
        b"/shop/../web.git/info/refs",
        b"/shop/%2e%2e/web.git/info/refs",
        b"/shop/web%00.git/info/refs",
        b"//shop/web.git/info/refs",
        b"/shop//web.git/info/refs",
        b"/Shop/web.git/info/refs",
        b"/shop/web.git/info/refs\n",
        b"/shop/web.git/info/refs/",
        b"/shop/-x.git/info/refs",
        b"/1/web.git/info/refs",
        b"/shop/web/info/refs",
        b"/shop/web.git.git/info/refs",
        b"/enclii/web.git/info/refs",
        b"/shop/" + b"a" * 41 + b".git/info/refs",
        "/shöp/web.git/info/refs".encode(),
        b"/shop/.git/info/refs",
    ],
)
def test_any_other_path_is_nothing(path: bytes) -> None:
    assert requested(path) is None


def test_the_reserved_project_holds_the_configuration_alone() -> None:
    assert RepositoryName.of("enclii", "config").is_config
    with pytest.raises(Invalid):
        RepositoryName.of("enclii", "web")


def test_git_sees_exactly_the_configuration_that_is_given() -> None:
    found = git_environment({"a.b": "c"})
    assert (found["GIT_CONFIG_COUNT"], found["GIT_CONFIG_KEY_0"], found["GIT_CONFIG_VALUE_0"]) == ("1", "a.b", "c")
    assert found["GIT_CONFIG_GLOBAL"] == os.devnull


def test_repositories_made_at_once_are_one_and_empty(tmp_path: Path) -> None:
    needs("git")
    repositories = Repositories(tmp_path)

    async def scenario() -> None:
        await asyncio.gather(*(repositories.create(WEB) for _ in range(5)))
        assert await repositories.refs(WEB) == {}

    asyncio.run(scenario())
    assert (repositories.path(WEB) / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["web.git"]
    assert repositories.all() == [WEB]


def test_only_old_leftovers_of_pushes_are_removed(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    old, young = (repositories.path(WEB) / f"objects/tmp_objdir-incoming-{age}" for age in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (1, 1))
    assert repositories.remove_leftovers() == [old]
    assert young.is_dir()


def test_what_is_no_repository_is_passed_over(tmp_path: Path) -> None:
    for name in ("shop/web.git", "Shop/x.git", "shop/.new-1"):
        (tmp_path / name).mkdir(parents=True)
    assert Repositories(tmp_path).all() == []
