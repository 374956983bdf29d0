"""The committer's mirrors of sources: a new run's commit is there before anybody asks for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pygit2

from gitops.committing.sources import Sources
from pipeline.bus import connect
from pipeline.mirrors import Mirrors
from pipeline.records import Repository, Run
from pipeline.settings import Settings
from pipeline.store import Change, Step, Store
from tests.support.components import needs
from tests.support.nats import running_nats

SOMEONE = pygit2.Signature("Deployer", "deployer@example.test", 1_700_000_000, 0)


def a_source(folder: Path) -> tuple[Repository, str]:
    needs("git")
    git = pygit2.init_repository(str(folder), bare=True, initial_head="main")
    tree = git.TreeBuilder().write()
    sha = str(git.create_commit("refs/heads/main", SOMEONE, SOMEONE, "Begin\n", tree, []))
    return Repository(id="github:o/shop", project="shop", name="shop", forge="github", url=folder.as_uri()), sha


def a_run(repository: Repository, sha: str, number: int) -> Run:
    return Run(
        id=f"r-{number}", project="shop", repository=repository.id, ref="refs/heads/main", sha=sha, actor="ada",
        subject_line="Begin", delivery="d", created_at="2026-01-01T00:00:00Z", services=("web",),
    )  # fmt: skip


def test_a_new_runs_commit_is_brought_though_the_one_before_could_not_be(tmp_path: Path) -> None:
    repository, sha = a_source(tmp_path / "source.git")
    mirrors = Mirrors(Settings(), tmp_path / "mirrors")

    async def story(url: str) -> None:
        store = Store(await connect(url, name="test"))
        await store.bus.create_streams()
        following = asyncio.create_task(Sources(store, mirrors).follow())
        try:
            mirror = await mirrors.of(repository)
            number = 0
            async with asyncio.timeout(60):
                while not await asyncio.to_thread(mirror.has, sha):  # the first may be older than the watch
                    number += 1
                    lost, good = a_run(repository, "1" * 40, 2 * number), a_run(repository, sha, 2 * number + 1)
                    await store.commit(Step(tuple(Change(one, None) for one in (repository, lost, good))))
                    await asyncio.sleep(0.1)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await store.bus.close()

    with running_nats(tmp_path / "nats") as url:
        asyncio.run(story(url))
