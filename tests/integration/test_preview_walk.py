"""A walk over the states of a preview: whatever happens in which of them, none is one for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preview_life import Limits
from pipeline.previews import inventory
from tests.support.nats import running_nats
from tests.support.preview_walk import HEADS, Walk, Walked
from tests.support.preview_world import world

READY, ASLEEP = ("up", "settle"), ("up", "settle", "sleep", "settle")
STATES: dict[str, tuple[str, ...]] = {
    "none": (),
    "building": ("up",),
    "built": ("up", "build"),
    "ready": READY,
    "build failed": ("builds_break", "up", "settle", "builds_break"),
    "file failed": (*READY, "file_breaks", "push", "settle", "file_breaks"),
    "pushed": (*READY, "push"),
    "falling asleep": (*READY, "sleep"),
    "asleep": ASLEEP,
    "waking": (*ASLEEP, "hit", "plan"),
    "pushed while asleep": (*ASLEEP, "push"),
    "restarted while asleep": (*ASLEEP, "restart"),
    "asked to go": (*READY, "down"),
    "closed": (*READY, "close"),
    "closed while building": ("up", "close"),
    "closed while asleep": (*ASLEEP, "close"),
    "gone": (*READY, "down", "settle"),
}
EVENTS = (
    "push", "bad_push", "close", "reopen", "up", "restart", "down", "extend", "sleep", "expire", "hit",
    "planner_dies", "removed_by_hand", "base_moves",
)  # fmt: skip
ANY = (*EVENTS, "builds_break", "file_breaks", "build", "commit", "plan", "look", "settle")
RESTS = {None, "waiting", "ready", "failed", "asleep", "removed"}
"""What a preview may be while nobody has anything to do."""
NUMBER = itertools.count()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[str]:
    """One for each state: what all the walks of one store have said is read by each of them."""
    with running_nats(tmp_path) as url:
        yield url


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_nats(tmp_path_factory.mktemp("nats")) as url:
        yield url


async def _rests(walk: Walk) -> str | None:
    """Where it comes to rest: it says why where it is not well, and while it is ready all of it runs."""
    await walk.settle()
    one = await walk.at.preview()
    if one is None:
        return None
    assert one.state in RESTS, one
    assert one.reason or one.state not in ("failed", "waiting"), one
    if one.state == "ready":
        assert {service.status for service in one.services} == {"running"}, one
        assert one.newest == HEADS[walk.heads], one
    if one.state not in ("asleep", "removed"):
        assert not any(service.status == "asleep" for service in one.services), one
    if one.state == "removed":
        assert (inventory(one), one.left) == ((), ()), one
    return one.state


async def _walked(url: str, happened: Sequence[str], *, fork: bool, automatic: bool = False) -> None:
    slug = f"walk{next(NUMBER)}"
    limits = Limits(cap=1_000, cap_all=100_000)
    async with world(url, slug, limits=limits, automatic=automatic, sources=Walked(slug)) as at:
        walk = Walk(at, fork)
        await walk.reopen()
        for name in happened:
            await getattr(walk, name)()
        await _rests(walk)
        await walk.reopen()
        await _rests(walk)
        walk.mend()
        await walk.up()
        assert await _rests(walk) == "ready"
        await walk.down()
        assert await _rests(walk) == "removed"


@pytest.mark.parametrize(
    ("state", "fork"),
    [(state, False) for state in STATES] + [(state, True) for state in ("building", "pushed", "asleep")],
)
def test_from_every_state_and_after_every_event_it_comes_up_and_it_goes(nats: str, state: str, fork: bool) -> None:
    wrong: list[str] = []

    async def walked(event: str) -> None:
        try:
            await _walked(nats, (*STATES[state], event), fork=fork)
        except AssertionError as error:
            wrong.append(f"{event}: {str(error)[:900]}")

    async def story() -> None:
        await asyncio.gather(*(walked(event) for event in EVENTS))

    asyncio.run(story())
    assert not wrong, "\n".join(wrong)


@settings(max_examples=20, deadline=None)
@given(
    state=st.sampled_from(sorted(STATES)), more=st.lists(st.sampled_from(ANY), min_size=2, max_size=8),
    fork=st.booleans(), automatic=st.booleans(),
)  # fmt: skip
def test_after_any_events_it_comes_up_and_it_goes(
    shared: str, state: str, more: list[str], fork: bool, automatic: bool
) -> None:
    asyncio.run(_walked(shared, (*STATES[state], *more), fork=fork, automatic=automatic))
