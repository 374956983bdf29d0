"""Steps joined into batches, against a real event store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from gitops.committing.recording import CHUNK, joined, record
from pipeline.bus import connect
from pipeline.errors import Conflict
from pipeline.events import ConfigMoved, DeploymentCommitted
from pipeline.records import ConfigTip, Decision
from pipeline.store import Change, Step, Store
from tests.support.nats import running_nats


def told(tmp: Path, story: Callable[[Store], Awaitable[None]]) -> None:
    async def go(url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        try:
            await bus.create_streams()
            await story(Store(bus))
        finally:
            await bus.close()

    with running_nats(tmp) as url:
        asyncio.run(go(url))


def decided(identity: str, seq: int | None = 0) -> Step:
    return Step(
        (Change(Decision(id=identity, about="command", outcome="accepted", reason="done", message="", at=""), seq),)
    )


def moved(tip: str, seq: int | None) -> Step:
    hint = ConfigMoved(id=tip, commit=tip, by="committer", at="")
    said = DeploymentCommitted(id=tip, deployment=tip, project="p", environment="e", service="s", at="")
    return Step((Change(ConfigTip(commit=tip, at=""), seq),), (said, hint))


async def known(store: Store, *identities: str) -> list[bool]:
    return [await store.get(Decision, one) is not None for one in identities]


def test_joined_steps_end_where_single_steps_end() -> None:
    whole = joined([moved("a", 7), moved("b", None), decided("c")])
    assert [(one.record.key, one.seq) for one in whole.changes] == [(("main",), 7), (("c",), 0)]
    assert [event.id for event in whole.events] == ["a", "b", "b"]  # each deployment, and the last hint
    tip = whole.changes[0].record
    assert isinstance(tip, ConfigTip)
    assert tip.commit == "b"


def test_more_than_a_batch_is_recorded_in_several(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        steps = [decided(str(number)) for number in range(CHUNK + 1)]
        assert await record(store, steps) == (CHUNK + 1, None)
        assert await known(store, "0", str(CHUNK)) == [True, True]

    told(tmp_path, story)


def test_a_step_that_meets_newer_state_keeps_those_after_it_back_and_none_before(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        await store.commit(decided("two"))
        done, stopped = await record(store, [decided("one"), decided("two"), decided("three")])
        assert (done, type(stopped)) == (1, Conflict)
        assert await known(store, "one", "three") == [True, False]

    told(tmp_path, story)


def test_after_a_batch_that_cannot_be_recorded_no_later_one_is(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        await store.commit(decided("0"))
        done, stopped = await record(store, [decided(str(number)) for number in range(2 * CHUNK)])
        assert (done, type(stopped)) == (0, Conflict)
        assert await known(store, "1", str(CHUNK)) == [False, False]

    told(tmp_path, story)
