"""The waker on a real store: clocks, health, and one wake for each occasion."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from gitops.rules.freeze import stamp
from gitops.syncing.waker import Waker
from pipeline.bus import connect
from pipeline.events import WaitEnded
from pipeline.promotions import Member, Promotion
from pipeline.records import Live
from pipeline.store import Change, Step, Store
from tests.support.nats import running_nats

PLACE = {"project": "shop", "environment": "staging", "service": "web"}


def waiting(**given: object) -> Promotion:
    member = Member(service="web", release="shop.web.v1", image="i")
    fields: dict[str, object] = {"status": "waiting", "source": "staging", **given}
    return Promotion(
        id="p-1", command="c-1", project="shop", environment="production", members=(member,), **fields  # type: ignore[arg-type]
    )  # fmt: skip


def live(healthy_since: str) -> Live:
    return Live(
        **PLACE, deployment="d-1", release="shop.web.v1", image="i", health="healthy", ready=1, desired=1,
        status="running" if healthy_since else "degraded", healthy_since=healthy_since,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def world(url: str) -> AsyncIterator[Store]:
    bus = await connect(url, name="test", wait=60.0)
    try:
        await bus.create_streams()
        async with asyncio.timeout(60):
            yield Store(bus)
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def running(store: Store) -> AsyncIterator[None]:
    task = asyncio.create_task(Waker(store).follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def keep(store: Store, record: Promotion | Live) -> None:
    await store.commit(Step((Change(record, None),)))


async def woken(store: Store, count: int) -> list[WaitEnded]:
    """The first ``count`` wakes, as soon as there are so many."""
    found: list[WaitEnded] = []
    async with store.bus.watch("ev.wait.ended.*") as messages:
        async for message in messages:
            found.append(msgspec.json.decode(message.data, type=WaitEnded))
            if len(found) == count:
                break
    return found


def soon(seconds: float) -> str:
    return stamp(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds))


def test_a_promotion_is_woken_when_its_time_is_over_and_not_before(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        async with world(url) as store, running(store):
            at = soon(0.3)
            await keep(store, waiting(wake_at=at))
            (event,) = await woken(store, 1)
            assert (event.promotion, event.id) == ("p-1", f"p-1/{at}")
            assert stamp(datetime.datetime.now(datetime.UTC)) > at

    with running_nats(tmp_path) as url:
        asyncio.run(story(url))


def test_a_new_wakers_first_look_wakes_what_is_overdue_once(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        async with world(url) as store:
            await keep(store, waiting(wake_at=soon(-60)))
            async with running(store):
                await woken(store, 1)
            async with running(store):
                await keep(store, live(soon(0)))
                await keep(store, waiting(reason="not_healthy"))
                events = await woken(store, 2)
            assert [event.id.split("/")[1][:4] for event in events] == [soon(0)[:4], "live"]

    with running_nats(tmp_path) as url:
        asyncio.run(story(url))


def test_a_source_that_gets_well_or_ill_wakes_what_comes_from_there(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        async with world(url) as store, running(store):
            await keep(store, waiting(reason="not_healthy"))
            await keep(store, live(""))
            await woken(store, 1)
            await keep(store, live("2026-11-23T12:00:00.000Z"))
            assert len({event.id for event in await woken(store, 2)}) == 2

    with running_nats(tmp_path) as url:
        asyncio.run(story(url))
