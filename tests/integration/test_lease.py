"""A lease at a real server: one holds it, it ends by itself, and who was away too long knows it by its own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pipeline.bus import Bus, connect
from pipeline.errors import Unavailable
from pipeline.lease import Lease
from tests.support.nats import running_nats

SUBJECT = "lease.committer.x"


def on_a_server(tmp: Path, body: Callable[[Bus, Bus], Awaitable[None]]) -> None:
    async def run(url: str) -> None:
        one, other = await connect(url, name="one", wait=60), await connect(url, name="other", wait=60)
        try:
            await one.create_streams()
            await body(one, other)
        finally:
            await one.close()
            await other.close()

    with running_nats(tmp) as url:
        asyncio.run(run(url))


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await true():  # noqa: ASYNC110 - the server tells nobody that a lease is over
            await asyncio.sleep(0.05)


def test_one_holds_it_until_it_is_given_back(tmp_path: Path) -> None:
    async def body(one: Bus, other: Bus) -> None:
        first, second = Lease(one, SUBJECT, 60), Lease(other, SUBJECT, 60)

        assert [await first.take(), await second.take(), await first.renew()] == [True, False, True]
        first.check()
        await first.release()
        assert await second.take()
        with pytest.raises(Unavailable):
            first.check()

    on_a_server(tmp_path, body)


def test_whoever_waits_takes_over_what_was_not_renewed_and_the_first_can_not_renew_it_then(tmp_path: Path) -> None:
    async def body(one: Bus, other: Bus) -> None:
        first, second = Lease(one, SUBJECT, 0.5), Lease(other, SUBJECT, 0.5)
        assert await first.take()

        await until(second.take)

        assert not await first.renew()
        with pytest.raises(Unavailable) as refused:
            first.check()
        assert refused.value.reason == "lease_lost"

    on_a_server(tmp_path, body)


def test_who_was_stopped_writes_nothing_before_it_knows_that_nobody_took_over(tmp_path: Path) -> None:
    async def body(one: Bus, _: Bus) -> None:
        now = [0.0]
        first = Lease(one, SUBJECT, 5, clock=lambda: now[0])
        assert await first.take()

        now[0] += 60  # as after a SIGSTOP

        with pytest.raises(Unavailable):
            first.check()
        assert await first.renew()
        first.check()

    on_a_server(tmp_path, body)


def test_work_ends_when_another_has_the_lease(tmp_path: Path) -> None:
    async def body(one: Bus, other: Bus) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        leading = asyncio.create_task(Lease(one, SUBJECT, 3).lead(work, asyncio.Event()))
        await asyncio.wait_for(begun.wait(), 60)
        hasty = Lease(other, SUBJECT, 0.1)
        await until(hasty.take)

        with pytest.raises(Unavailable):
            await asyncio.wait_for(leading, 60)
        assert ended.is_set()

    on_a_server(tmp_path, body)
