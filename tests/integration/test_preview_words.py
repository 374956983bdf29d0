"""What forges and the clock say of previews that is late, odd or wrong (docs/rules.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from pipeline.preview_life import Limits, due
from pipeline.previews import PullRequest
from pipeline.records import Route
from pipeline.store import Change, Step, now
from tests.support.nats import running_nats
from tests.support.preview_world import ONE, TWO, world


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_nats(tmp_path_factory.mktemp("nats")) as url:
        yield url


def test_rule_20_it_sleeps_where_a_request_would_be_heard_and_nowhere_else(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "sleeps", limits=Limits(cap_all=1_000)) as at:
            await at.pull()
            await at.ask("up")
            quiet = replace(await at.there(), active_at=due(now(), -7_200), state="ready")
            await at.store.commit(Step((Change(quiet, None),)))
            await at.watcher().sweep()
            assert (await at.there()).state == "ready"
            await at.store.commit(Step((Change(Route(host="h", upstreams=("10.0.0.1:80",), preview=True), None),)))
            await at.watcher().sweep()
            assert (await at.there()).state == "asleep"

    asyncio.run(story())


def test_a_retargeted_pull_request_keeps_its_preview_and_its_next_build_is_by_the_new_base(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "retarget") as at:
            await at.pull(fork=True, head_repository="github:other")
            await at.ask("approve", sha=ONE)
            before = await at.there()
            await at.pull(action="edited", base="release", fork=True, head_repository="github:other")
            assert await at.there() == before  # no build, and what was approved is approved
            assert (await at.ask("restart")).outcome == "accepted"
            assert at.sources.bases == ["main", "release"]
            await at.pull(action="closed", state="closed", base="another", fork=True, head_repository="github:other")
            assert (await at.there()).state == "removing"

    asyncio.run(story())


def test_a_fork_that_is_deleted_while_it_is_built_stays_a_fork_and_gets_no_other_build(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "deleted") as at:
            await at.pull(fork=True, head_repository="github:other")
            await at.ask("approve", sha=ONE)
            building = await at.there()
            await at.pull(action="read", fork=False, head_repository="")  # nobody can say any more whose it was
            assert (await at.there()).run == building.run
            assert (await at.there()).fork
            await at.pull(action="pushed", head=TWO, fork=False, head_repository="")
            assert ((await at.there()).reason, (await at.there()).run) == ("approval_needed", building.run)
            at.sources.gone = True  # and its commit cannot be had
            said = await at.ask("approve", sha=TWO)
            assert (said.outcome, said.reason) == ("refused", "ref_not_found")
            assert ((await at.there()).sha, (await at.there()).approved) == (ONE, ONE)

    asyncio.run(story())


def test_a_head_that_cannot_be_planned_is_the_head_and_stays_said_while_the_last_one_runs(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "unread") as at:
            await at.pull()
            await at.ask("up")
            at.sources.gone = True
            await at.pull(action="pushed", head=TWO)
            for _ in range(2):
                failed = await at.there()
                assert (failed.state, failed.reason, failed.newest) == ("failed", "ref_not_found", TWO)
                await at.watcher().look(failed.key)
            known = await at.store.get(PullRequest, at.origin, "12")
            assert known is not None
            assert known.record.head == TWO  # or nobody could ask for it again
            at.sources.gone = False
            assert (await at.ask("restart", sha=TWO)).outcome == "accepted"
            assert ((await at.there()).state, (await at.there()).sha) == ("building", TWO)

    asyncio.run(story())


def test_it_is_not_gone_while_a_build_that_was_overtaken_may_yet_be_pushed(nats: str) -> None:
    async def story() -> None:
        async with world(nats, "overtaken") as at:
            await at.pull()
            await at.ask("up")
            first = await at.there()
            await at.pull(action="pushed", head=TWO)
            await at.end_job(await at.there())
            await at.ask("down")
            await at.watcher().look(first.key)
            assert ((await at.there()).state, (await at.there()).left) == ("removing", ("job: web",))
            await at.end_job(first)
            await at.watcher().look(first.key)
            assert (await at.there()).state == "removed"

    asyncio.run(story())
