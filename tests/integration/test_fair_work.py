"""The loop that takes turns, on a real event store: all is handled once, in fair order, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from pipeline.bus import connect
from pipeline.events import BuildRequested, Event
from pipeline.fair_work import work_fairly
from pipeline.store import Step, Store
from pipeline.turns import Turns
from pipeline.worker import Stage
from tests.support.nats import running_nats

Handle = Callable[[Event], Awaitable[Step]]


def request(repository: str, number: int) -> BuildRequested:
    return BuildRequested(
        id=f"{repository}/{number}", run=f"{repository}-{number}", project="p", service="web", repository=repository,
        source_url="", ref="", sha="", tree="", build_key="", spec=msgspec.Raw(b"{}"), commit_time=0, source="",
        dockerfile="Dockerfile",
    )  # fmt: skip


async def opened() -> None:
    return None


async def worked(store: Store, handle: Handle, stopping: asyncio.Event, *, slots: int = 1) -> None:
    stage = Stage("builder", (BuildRequested,), handle)
    async with asyncio.timeout(60):
        await work_fairly(
            stage, store, stopping, turns=Turns(slots, cap=1), share=lambda event: str(event.id).split("/")[0],
            gate=opened,
        )  # fmt: skip


def test_a_long_queue_of_one_repository_does_not_hold_up_another(tmp_path: Path) -> None:
    async def story(url: str) -> list[str]:
        store, stopping, order = Store(await connect(url, name="test", wait=60.0)), asyncio.Event(), list[str]()
        await store.bus.create_streams()
        await store.publish(*(request("flood", number) for number in range(30)), request("quiet", 0))

        async def handle(event: Event) -> Step:
            await asyncio.sleep(0.05)
            order.append(event.id)
            if len(order) == 31:
                stopping.set()
            return Step()

        await worked(store, handle, stopping)
        await store.bus.close()
        return order

    with running_nats(tmp_path) as url:
        order = asyncio.run(story(url))

    assert len(order) == len(set(order)) == 31
    assert order.index("quiet/0") < 20


def test_what_had_no_turn_goes_to_the_next_worker(tmp_path: Path) -> None:
    async def story(url: str) -> tuple[list[str], list[str]]:
        store, ended = Store(await connect(url, name="test", wait=60.0)), asyncio.Event()
        await store.bus.create_streams()
        await store.publish(*(request("shop", number) for number in range(5)))
        first, second, all_done = list[str](), list[str](), asyncio.Event()

        async def one(event: Event) -> Step:
            first.append(event.id)
            ended.set()
            return Step()

        async def rest(event: Event) -> Step:
            second.append(event.id)
            if len(first) + len(second) == 5:
                all_done.set()
            return Step()

        await worked(store, one, ended)
        await worked(store, rest, all_done)
        await store.bus.close()
        return first, second

    with running_nats(tmp_path) as url:
        first, second = asyncio.run(story(url))

    assert sorted(first + second) == [f"shop/{number}" for number in range(5)]


def test_a_worker_that_comes_later_gets_its_part_of_what_another_has_taken_in(tmp_path: Path) -> None:
    async def story(url: str) -> tuple[list[str], list[str]]:
        one, other = [Store(await connect(url, name=name, wait=60.0)) for name in ("one", "other")]
        await one.bus.create_streams()
        await one.publish(*(request("shop", number) for number in range(20)))
        first, second, begun, later, done = list[str](), list[str](), asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def early(event: Event) -> Step:
            first.append(event.id)
            begun.set()
            await later.wait()  # busy until the other has got something, with all that waits taken in
            return Step()

        async def late(event: Event) -> Step:
            second.append(event.id)
            later.set()
            return Step()

        async def ended() -> None:
            while len(first) + len(second) < 20:  # noqa: ASYNC110 - two lists
                await asyncio.sleep(0.02)
            done.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(worked(one, early, done))
            await begun.wait()
            group.create_task(worked(other, late, done))
            group.create_task(ended())
        for store in (one, other):
            await store.bus.close()
        return first, second

    with running_nats(tmp_path) as url:
        first, second = asyncio.run(story(url))

    assert second
    assert sorted(first + second) == sorted(f"shop/{number}" for number in range(20))
