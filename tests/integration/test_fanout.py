"""One build's log for many readers: nobody loses a line, and a reader that takes nothing keeps nobody waiting."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from console import fanout
from console.client import Client
from pipeline.names import token
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console

SUBJECT = f"log.build.{token('r-3', 'web')}"


def _line(number: int, size: int = 0) -> bytes:
    return json.dumps({"t": data.AT1, "s": "stdout", "l": f"{number}{'x' * size}"}).encode()


async def _open(console: Console, last: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = urlsplit(console.url).netloc.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    resumed = f"Last-Event-ID: {last}\r\n" if last else ""
    head = f"GET /v1/runs/r-3/logs?follow=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
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
