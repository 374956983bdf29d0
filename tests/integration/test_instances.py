"""Two Enclii with stores of their own on one config repository: the second writes nothing, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

from pipeline.bus import connect
from pipeline.errors import Unavailable
from pipeline.records import Decision
from pipeline.store import Store
from tests.support.committer_world import World, told
from tests.support.nats import running_nats

FIRST, SECOND = "1" * 16, "2" * 16


def test_the_second_of_two_installations_writes_nothing_and_says_who_the_other_is(tmp_path: Path) -> None:
    async def story(first: World) -> None:
        first.instance = FIRST
        first.committer = first.new_committer()
        await first.deployed(1)
        assert f"Enclii-Instance: test {FIRST}" in first.log("%B")
        (tmp_path / "second").mkdir()
        with running_nats(tmp_path / "second" / "nats") as url:
            bus = await connect(url, name="second", wait=60.0)
            await bus.create_streams()
            try:
                await _second(first, World(tmp_path / "second", first.remote, first.url, Store(bus), instance=SECOND))
            finally:
                await bus.close()

    told(tmp_path, story)


async def _second(first: World, second: World) -> None:
    before = first.log("%H")
    event = await second.release(7)
    found, waits = await second.do(event)
    assert isinstance(waits.error, Unavailable)
    assert (waits.event, waits.error.reason, waits.step.changes) == (event, "another_instance", ())
    (decision,) = (change.record for change in found.step.changes)
    assert isinstance(decision, Decision)
    assert FIRST in decision.message
    assert first.log("%H") == before

    second.instance = FIRST  # told that the first one is gone: it was the same installation
    second.committer = second.new_committer("again")
    await second.do(event)
    assert (await second.target()).release == "shop.web.v7"


def test_commits_from_before_instances_were_named_are_ones_own(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        world.instance = SECOND
        world.committer = world.new_committer("other")
        await world.deployed(2)
        assert (await world.target()).release == "shop.web.v2"

    told(tmp_path, story)
