"""The bus against a real nats-server: conditions, batches, pulls, and a server that dies in between."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pipeline.bus import Bus, Write, connect
from pipeline.errors import Conflict, Unavailable
from pipeline.records import Route
from pipeline.store import Change, Step, Store
from tests.support.nats import running_nats


def with_bus(tmp: Path, story: Callable[[Bus], Awaitable[None]]) -> None:
    async def go(url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        try:
            await bus.create_streams()
            async with asyncio.timeout(60):
                await story(bus)
        finally:
            await bus.close()

    with running_nats(tmp) as url:
        asyncio.run(go(url))


def test_a_subject_that_must_not_exist_is_written_once(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        await bus.commit(Write("ev.a.1", b"first", 0))
        with pytest.raises(Conflict):
            await bus.commit(Write("ev.a.1", b"second", 0))
        found = await bus.get("ev.a.1")
        assert found is not None
        assert found.data == b"first"

    with_bus(tmp_path, story)


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        await bus.commit(Write("st.a.1", b"x", 0), Write("ev.a.1", b"y", 0), Write("ev.a.2", b"z", 0))
        with pytest.raises(Conflict):
            await bus.commit(Write("st.b.1", b"x", 0), Write("ev.a.1", b"again", 0))
        assert await bus.get("st.b.1") is None
        assert [entry.data for entry in await bus.scan("ev.>")] == [b"y", b"z"]

    with_bus(tmp_path, story)


def test_a_record_is_waited_for_until_it_is_as_wished(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        store = Store(bus)
        waiting = asyncio.create_task(store.first(Route, "a", such=lambda one: bool(one.upstreams), limit=60.0))
        await store.commit(Step((Change(Route(host="a", upstreams=()), None),)))
        await store.commit(Step((Change(Route(host="a", upstreams=("b:1",)), None),)))

        found = await waiting

        assert found is not None
        assert found.upstreams == ("b:1",)
        assert await store.first(Route, "a", such=lambda _: True, limit=60.0) == found
        assert await store.first(Route, "never", such=lambda _: True, limit=0.2) is None

    with_bus(tmp_path, story)


def test_scanning_nothing_ends_at_once(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        assert await bus.scan("st.none.*") == []

    with_bus(tmp_path, story)


def test_an_unacknowledged_message_comes_again_and_an_acknowledged_one_does_not(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        for number in range(3):
            await bus.commit(Write(f"ev.a.{number}", b"%d" % number, 0))
        seen: list[bytes] = []
        async with bus.consume("PIPE", "worker", ["ev.a.*"], inflight=4) as messages:
            async for message in messages:
                seen.append(message.data)
                if message.data == b"1" and message.deliveries == 1:
                    await message.retry(0.05)
                else:
                    await message.ack()
                if len(seen) == 4:
                    break
        assert sorted(seen) == [b"0", b"1", b"1", b"2"]

    with_bus(tmp_path, story)


def test_a_watch_tells_what_was_stored_and_what_comes(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        await bus.commit(Write("st.a.1", b"old"))
        seen: list[bytes] = []
        async with bus.watch("st.>") as messages:
            async for message in messages:
                seen.append(message.data)
                if message.data == b"new":
                    break
                await bus.commit(Write("st.a.1", b"new"))
        assert seen == [b"old", b"new"]

    with_bus(tmp_path, story)


def test_what_was_acknowledged_survives_the_servers_death_and_readers_go_on(tmp_path: Path) -> None:
    async def go() -> None:
        with running_nats(tmp_path) as url:
            bus = await connect(url, name="test", wait=60.0)
            await bus.create_streams()
            await bus.commit(Write("ev.a.1", b"kept", 0))
        with pytest.raises(Unavailable):
            await bus.commit(Write("ev.a.2", b"refused", 0))
        with running_nats(tmp_path, port=int(url.rsplit(":", 1)[1])):
            async with asyncio.timeout(60):
                while not bus.connected:  # noqa: ASYNC110 - the client reconnects by itself
                    await asyncio.sleep(0.01)
                async with bus.consume("PIPE", "worker", ["ev.a.*"]) as messages:
                    message = await anext(messages)
            assert message.data == b"kept"
            await bus.close()

    asyncio.run(go())


def test_no_server_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no event store"):
        asyncio.run(connect("nats://127.0.0.1:9", name="test", wait=0.5))


def test_a_scan_misses_no_record_though_all_are_replaced_meanwhile(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        await bus.commit(*(Write(f"st.run.{number}", b"0") for number in range(40)))

        async def replace() -> None:
            while True:
                await bus.commit(*(Write(f"st.run.{number}", b"1") for number in range(40)))

        writing = asyncio.create_task(replace())
        try:
            async with asyncio.timeout(60):
                found = [len(await bus.scan("st.run.*")) for _ in range(60)]
        finally:
            writing.cancel()
        assert found == [40] * 60

    with_bus(tmp_path, story)


def test_closing_waits_for_nothing_that_nobody_takes_any_more_and_leaves_no_failure_behind(tmp_path: Path) -> None:
    left: list[str] = []

    async def story(bus: Bus) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(str(context["message"])))
        async with bus.listening() as (subject, _):
            await bus.send(subject, b"nobody takes it")
            await bus.close()
        del subject
        gc.collect()

    with_bus(tmp_path, story)
    assert left == []
