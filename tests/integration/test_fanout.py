"""One log, a build's or a service's, for many readers: nobody loses a line, and one that takes none holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from console import fanout, service_feed
from console.client import Client
from gitops.clusters import LogLine, ServiceRef
from pipeline import stalling
from pipeline.names import token
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console

NANO = 1_000_000_000
SUBJECT = f"log.build.{token('r-3', 'web')}"


def _line(number: int, size: int = 0) -> bytes:
    return json.dumps({"t": data.AT1, "s": "stdout", "l": f"{number}{'x' * size}"}).encode()


BUILD, SERVICE = "runs/r-3/logs?follow=true", "services/shop.web/logs?environment=production&follow=true"
PLACE = ServiceRef("shop", "production", "web")


async def _open(console: Console, last: str = "", of: str = BUILD) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = urlsplit(console.url).netloc.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    resumed = f"Last-Event-ID: {last}\r\n" if last else ""
    head = f"GET /v1/{of} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(f"{head}{resumed}\r\n".encode())
    await writer.drain()
    return reader, writer


async def _numbers(reader: asyncio.StreamReader, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        line = await reader.readline()
        assert line, found
        if line.startswith(b"data: ") and b'"text"' in line:
            found.append(int(json.loads(line[6:])["text"].rstrip("x")))
    return found


def test_many_readers_get_every_line_and_one_that_comes_back_the_rest(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        bus = console.store.bus
        first = await bus._put(SUBJECT, b"\n".join(map(_line, range(3))), {})
        async with contextlib.AsyncExitStack() as stack:
            readers = [await _open(console) for _ in range(30)]
            late = await _open(console, f"{first}-2")
            for _, writer in (*readers, late):
                stack.callback(writer.close)
            early = asyncio.gather(*(_numbers(reader, 50) for reader, _ in readers))
            for number in range(3, 50):
                await bus.append(SUBJECT, _line(number))

            assert await early == [list(range(50))] * 30
            assert await _numbers(late[0], 48) == list(range(2, 50))

    with_console(tmp_path, story)


def test_who_stops_reading_is_dropped_and_nobody_else_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "SEND_LIMIT", 0.5)

    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        bus = console.store.bus
        _, stalled = await _open(console)
        reading, writer = await _open(console)
        stalled.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(30):
            await bus.append(SUBJECT, _line(number, 200_000))

        assert await _numbers(reading, 30) == list(range(30))
        await bus.append(SUBJECT, b'{"end": true}')
        assert b"event: end" in await reading.readuntil(b"event: end")
        writer.close()
        stalled.close()

    with_console(tmp_path, story)


def test_a_log_larger_than_is_kept_is_read_to_its_end_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "KEPT", 2_000)

    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        await console.store.bus.append(SUBJECT, b"\n".join(map(_line, range(100))) + b'\n{"end": true}')

        def read() -> list[int]:
            client = Client(console.url, TOKEN)
            return [int(event.data["text"]) for event in client.events("/v1/runs/r-3/logs", {"follow": True})]

        assert await asyncio.to_thread(read) == list(range(100))

    with_console(tmp_path, story)


def _printed(number: int, text: str = "", replica: str = "web.1") -> LogLine:
    return LogLine(NANO + number * 1_000_000, replica, "v2", "stdout", f"{number}{text}".encode())


async def _known(reader: asyncio.StreamReader, count: int) -> list[str]:
    """The ids of the next lines."""
    found: list[str] = []
    while len(found) < count:
        line = await reader.readline()
        assert line, found
        if line.startswith(b"id: "):
            found.append(line[4:].decode().strip())
    return found


def test_all_who_follow_a_service_share_one_reader_and_miss_nothing(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        console.logs.lasting, asked = True, console.logs.asked
        console.logs.add(*map(_printed, range(300)))
        async with contextlib.AsyncExitStack() as stack:

            async def reader(of: str = SERVICE, last: str = "") -> asyncio.StreamReader:
                found, writer = await _open(console, last, of)
                stack.callback(writer.close)
                return found

            many = [await reader() for _ in range(40)]
            assert [await _numbers(one, 100) for one in many] == [list(range(200, 300))] * 40
            few, ids = await reader(f"{SERVICE}&tail=3"), await reader(f"{SERVICE}&tail=20")
            assert await _numbers(few, 3) == [297, 298, 299]
            back = await reader(SERVICE, (await _known(ids, 20))[9])
            assert await _numbers(back, 10) == list(range(290, 300))
            assert [one["follow"] for one in asked] == [False, True]
            console.logs.add(*map(_printed, range(300, 340)))
            for one in (*many, few, back):
                assert await _numbers(one, 40) == list(range(300, 340))
            assert len(asked) == 2

    with_console(tmp_path, story)


def test_who_asks_for_older_lines_reads_those_alone_and_goes_on_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_feed, "KEPT", 20_000)

    async def story(console: Console) -> None:
        await console.put(*data.shop())
        console.logs.lasting = True
        console.logs.add(*map(_printed, range(300)))
        async with contextlib.AsyncExitStack() as stack:

            async def reader(of: str) -> asyncio.StreamReader:
                found, writer = await _open(console, "", of)
                stack.callback(writer.close)
                return found

            old, wanted = await reader(f"{SERVICE}&since=1970-01-01T00:00:00Z"), await reader(f"{SERVICE}&release=v2")
            first, begun = await _numbers(old, 300), await _numbers(wanted, 100)
            console.logs.add(*map(_printed, range(300, 320)))

            assert first + await _numbers(old, 20) == list(range(320))
            assert begun + await _numbers(wanted, 20) == list(range(200, 320))
            assert sum(one["follow"] for one in console.logs.asked) == 1

    with_console(tmp_path, story)


def test_who_stops_reading_a_service_is_dropped_and_nobody_else_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "SEND_LIMIT", 0.5)
    monkeypatch.setattr(service_feed, "KEPT", 2_000_000)

    async def story(console: Console) -> None:
        await console.put(*data.shop())
        console.logs.lasting = True
        reading, writer = await _open(console, "", SERVICE)
        _, stalled = await _open(console, "", SERVICE)
        stalled.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(30):
            console.logs.add(_printed(number, "x" * 200_000))
            assert await _numbers(reading, 1) == [number]
        writer.close()
        stalled.close()

    with_console(tmp_path, story)


def test_a_cluster_that_fails_is_told_to_all_and_read_again_for_who_comes_back(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        console.logs.lasting = True
        console.logs.add(*map(_printed, range(5)))
        readers = [await _open(console, "", SERVICE) for _ in range(3)]
        for reader, _ in readers:
            assert await _numbers(reader, 5) == list(range(5))
        console.logs.failing = True
        console.logs.add()
        for reader, writer in readers:
            assert b"event: problem" in await reader.readuntil(b"event: problem")
            writer.close()
        console.logs.failing = False
        again, writer = await _open(console, "", SERVICE)
        assert await _numbers(again, 5) == list(range(5))
        writer.close()

    with_console(tmp_path, story)


STREAMS = {
    "a build's log": "/v1/runs/r-3/logs?follow=true",
    "a run's events": "/v1/runs/r-3/events",
    "a service's log": "/v1/services/shop.web/logs?environment=production&follow=true",
}


@contextlib.contextmanager
def _never_reading(url: str, address: str) -> Iterator[select.poll]:
    """A client that asks and takes nothing; its poll answers once the server has cut it."""
    host, port = urlsplit(url).netloc.split(":")
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect((host, int(port)))
        peer.sendall(f"GET {address} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        cut = select.poll()
        cut.register(peer, 0)
        yield cut


@pytest.mark.parametrize("address", STREAMS.values(), ids=STREAMS)
def test_who_takes_nothing_and_never_closes_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(stalling, "TAKE_LIMIT", 0.2)

    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        console.logs.lasting = True
        with _never_reading(console.url, address) as cut:
            for number in itertools.count():
                if cut.poll(0):
                    break
                await console.store.bus.append(SUBJECT, _line(number, 200_000))
                console.logs.add(_printed(number, "x" * 200_000))
                await console.put(replace(data.run(3, "running"), subject_line=f"{number}{'x' * 200_000}"))
        assert (await console.get("/v1/runs/r-3"))["id"] == "r-3"

    with_console(tmp_path, story)
