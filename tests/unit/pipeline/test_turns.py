"""Whose turn it is: by builder-seconds, with a cap, over real waiting."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

from pipeline.builders import choice
from pipeline.events import BuildRequested
from pipeline.turns import PREVIEWS, Turns, next_share


def test_the_least_served_is_next() -> None:
    assert next_share(["a", "b", "c"], {}, {"a": 3.0, "b": 1.0, "c": 2.0}, cap=1) == "b"


def test_a_share_at_its_cap_waits() -> None:
    assert next_share(["a", "b"], {"b": 1}, {"a": 3.0}, cap=1) == "a"
    assert next_share(["b"], {"b": 1}, {}, cap=1) is None


def test_previews_wait_for_all_others_however_little_they_had() -> None:
    assert next_share([f"a{PREVIEWS}", "a"], {}, {"a": 9.0}, cap=1) == "a"
    assert next_share([f"a{PREVIEWS}", "a"], {"a": 1}, {"a": 9.0}, cap=1) == f"a{PREVIEWS}"


@pytest.mark.parametrize(("trust", "said"), [("main", "r"), ("preview-12", f"r{PREVIEWS}")])
def test_a_preview_takes_no_turn_of_its_repository(trust: str, said: str) -> None:
    event = BuildRequested(
        id="run/web", run="run", project="p", service="web", repository="r", source_url="", ref="", sha="", tree="",
        build_key="", spec=msgspec.Raw(b"{}"), commit_time=0, source="", dockerfile="Dockerfile", trust=trust,
    )  # fmt: skip

    assert choice.share(event) == said


def test_a_push_goes_before_the_previews_that_wait_already() -> None:
    async def story() -> list[str]:
        turns, order = Turns(1, cap=1), list[str]()

        async def build(share: str) -> None:
            async with turns.turn(share):
                order.append(share)
                await asyncio.sleep(0)

        await asyncio.gather(*(build(share) for share in [f"a{PREVIEWS}"] * 5 + ["a"]))
        return order

    assert asyncio.run(story()).index("a") == 1


def jain(values: list[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def served(queued: dict[str, int], took: dict[str, float], *, seconds: float) -> dict[str, float]:
    """Builder-seconds by share, over one builder, while all of them wait."""
    clock = Clock()
    turns = Turns(1, cap=1, clock=clock)
    got: dict[str, float] = dict.fromkeys(queued, 0.0)

    async def build(share: str) -> None:
        async with turns.turn(share):
            await asyncio.sleep(0)  # all the others come to wait
            if clock.now < seconds:
                clock.now += took[share]
                got[share] += took[share]

    await asyncio.gather(*(build(share) for share, count in queued.items() for _ in range(count)))
    return got


def test_a_repository_with_fifty_builds_gets_no_more_than_the_others() -> None:
    queued = {"flood": 50, "a": 20, "b": 20, "c": 20}

    got = asyncio.run(served(queued, dict.fromkeys(queued, 1.0), seconds=40))

    assert jain(list(got.values())) >= 0.95


def test_long_builds_do_not_get_more_than_short_ones() -> None:
    queued = {"flood": 50, "a": 60, "b": 60, "c": 60}

    got = asyncio.run(served(queued, {"flood": 5.0, "a": 1.0, "b": 2.0, "c": 1.0}, seconds=100))

    assert jain(list(got.values())) >= 0.95


def test_who_comes_late_starts_level_with_those_that_wait() -> None:
    async def story() -> list[str]:
        clock, order = Clock(), list[str]()
        turns = Turns(1, cap=1, clock=clock)

        async def build(share: str) -> None:
            async with turns.turn(share):
                order.append(share)
                clock.now += 1
                await asyncio.sleep(0)

        first = [asyncio.create_task(build("old")) for _ in range(6)]
        for _ in range(20):
            await asyncio.sleep(0)
            if len(order) == 3:
                break
        late = [asyncio.create_task(build("new")) for _ in range(3)]
        await asyncio.gather(*first, *late)
        return order

    order = asyncio.run(story())

    assert order[3:7].count("new") >= 1
    assert order[-1] in {"old", "new"}
    assert order[3:].count("old") == 3


def test_a_cancelled_wait_takes_no_turn() -> None:
    async def story() -> None:
        turns = Turns(1, cap=1)
        async with turns.turn("a"):
            waits = asyncio.create_task(turns.turn("b").__aenter__())
            await asyncio.sleep(0)
            waits.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waits
        async with asyncio.timeout(1), turns.turn("c"):
            assert turns.waiting() == {}

    asyncio.run(story())


def test_a_turn_that_is_given_back_passes_over_who_was_cancelled_in_the_same_moment() -> None:
    async def story() -> bool:
        turns = Turns(1, cap=1)

        async def build(begun: asyncio.Event) -> None:
            async with turns.turn("a"):
                begun.set()

        third = asyncio.Event()
        async with turns.turn("a"):
            cancelled, waits = asyncio.create_task(build(asyncio.Event())), asyncio.create_task(build(third))
            await asyncio.sleep(0)
            cancelled.cancel()
        await asyncio.wait_for(waits, 5)
        return third.is_set()

    assert asyncio.run(story())


def test_no_more_run_at_once_than_there_are_slots() -> None:
    async def story() -> int:
        turns, running, most = Turns(2, cap=2), 0, 0

        async def build(share: str) -> None:
            nonlocal running, most
            async with turns.turn(share):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(build(share) for share in "aabbcc"))
        return most

    assert asyncio.run(story()) == 2


def test_a_body_that_fails_gives_its_turn_back() -> None:
    async def story() -> None:
        turns = Turns(1, cap=1)
        with pytest.raises(ValueError, match="no"):
            async with turns.turn("a"):
                raise ValueError("no")
        async with asyncio.timeout(1), turns.turn("a"):
            return

    asyncio.run(story())
