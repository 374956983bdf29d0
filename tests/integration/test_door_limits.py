"""The front door's patience: who is silent, slow or too many is told so, and an end leaves nobody hanging."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gitops.door.limits import Limits
from gitops.door.proxy import Door
from gitops.door.routes import RouteTable
from tests.integration.test_door import GET, HEAD, HOST, answer_always, in_loop, upstream

SHORT = 0.3
POST = b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n"


@contextlib.asynccontextmanager
async def impatient(*upstreams: str, **limits: float) -> AsyncIterator[tuple[Door, int]]:
    """A door with these limits in place of its own."""
    table = RouteTable()
    table.set(HOST, upstreams, seq=1)
    front = Door(table=table, limits=replace(Limits(), linger=SHORT, **limits))  # type: ignore[arg-type]
    port = await front.start()
    try:
        yield front, port
    finally:
        await front.close(grace=0.5)


async def silent(reader: Reader, writer: Writer) -> None:
    """Takes a request and never answers."""
    await reader.readuntil(b"\r\n\r\n")
    await reader.read()


async def half(reader: Reader, writer: Writer) -> None:
    """Begins an answer and stops."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await reader.read()


@pytest.mark.parametrize(
    ("limit", "sent", "status"),
    [("header", GET[:-10], b"408"), ("body", POST + b"only this", b"408"), ("answer", GET, b"504")],
    ids=["head", "body", "answer"],
)
def test_what_does_not_come_in_time_is_answered_with_its_status(limit: str, sent: bytes, status: bytes) -> None:
    async def scenario() -> None:
        async with upstream(silent) as address, impatient(address, **{limit: SHORT}) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert (await reader.readline()).split()[1] == status
            writer.close()

    in_loop(scenario())


def test_an_answer_that_stops_is_visibly_incomplete() -> None:
    async def scenario() -> None:
        async with upstream(half) as address, impatient(address, stream=SHORT) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(100)
            writer.close()

    in_loop(scenario())


def test_a_connection_that_asks_nothing_is_closed() -> None:
    async def scenario() -> None:
        async with upstream(answer_always) as address, impatient(address, idle=SHORT, header=SHORT) as (front, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await reader.readuntil(b"ok")
            assert await reader.read() == b""
            assert front.connections == 0
            writer.close()

    in_loop(scenario())


def test_one_connection_too_many_is_told_so_and_the_others_go_on() -> None:
    async def scenario() -> None:
        async with upstream(answer_always) as address, impatient(address, connections=1) as (_, port):
            first, sending = await asyncio.open_connection("127.0.0.1", port)
            sending.write(GET)
            await first.readuntil(b"ok")
            second, other = await asyncio.open_connection("127.0.0.1", port)
            assert (await second.readline()).split()[1] == b"503"
            sending.write(GET)
            await first.readuntil(b"ok")
            for writer in (sending, other):
                writer.close()

    in_loop(scenario())


def test_closing_lets_a_request_finish_and_ends_idle_connections_at_once() -> None:
    async def scenario() -> None:
        asked, go = asyncio.Event(), asyncio.Event()

        async def slow(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await go.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        async with upstream(slow) as address, impatient(address) as (front, port):
            idle, unused = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await asked.wait()
            closing = asyncio.create_task(front.close(grace=20))
            assert await idle.read() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            go.set()
            assert (await reader.read()).endswith(b"ok")
            await closing
            for one in (writer, unused):
                one.close()

    in_loop(scenario())


def test_closing_cuts_what_outlasts_its_grace() -> None:
    async def scenario() -> None:
        async with upstream(silent) as address, impatient(address) as (front, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            while not front.counters:  # noqa: ASYNC110 - the request has no other sign
                await asyncio.sleep(0)
            await front.close(grace=SHORT)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            assert front.connections == 0
            writer.close()

    in_loop(scenario())
