"""The front door between real sockets: upstreams here are asyncio servers that each test scripts byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from gitops.door.hits import Hits
from gitops.door.proxy import Door
from gitops.door.routes import RouteTable

HOST = "web.shop.localhost"
HEAD = f"Host: {HOST}\r\n".encode()
GET = b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handler = Callable[[Reader, Writer], Awaitable[None]]


def in_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(coroutine, 60))


@contextlib.asynccontextmanager
async def upstream(handler: Handler) -> AsyncIterator[str]:
    async def serve(reader: Reader, writer: Writer) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def door(*upstreams: str, hold: float = 5.0) -> AsyncIterator[tuple[Door, int]]:
    table = RouteTable()
    table.set(HOST, upstreams, seq=1)
    front = Door(table=table, hold=hold)
    port = await front.start()
    try:
        yield front, port
    finally:
        await front.close(grace=0.5)


async def answer_always(reader: Reader, writer: Writer) -> None:
    """A keep-alive server that reads whole requests with Content-Length."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        await read_body(head, reader)
        writer.write(OK)


async def read_body(head: bytes, reader: Reader) -> int:
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = size = int(lengths[0].split(b":")[1]) if lengths else 0
    while left:
        left -= len(await reader.readexactly(min(left, 65536)))
    return size


async def ask(port: int, data: bytes) -> bytes:
    """Everything the door says on one connection until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read(-1)
    writer.close()
    return answer


CLOSING = GET[:-2] + b"Connection: close\r\n\r\n"


def test_no_request_fails_while_upstreams_are_switched_fifty_times_and_stopped() -> None:
    async def client(port: int, request: bytes, stop: asyncio.Event) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while not stop.is_set():
            writer.write(request)
            assert await reader.readexactly(len(OK)) == OK
            count += 1
        writer.close()
        return count

    async def scenario() -> None:
        post = b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello"
        stop = asyncio.Event()
        async with contextlib.AsyncExitStack() as first, door() as (front, port):
            clients = [asyncio.create_task(client(port, request, stop)) for request in (GET, post) * 3]
            old, old_stack = "", first
            for seq in range(2, 52):
                stack = contextlib.AsyncExitStack()
                new = await stack.enter_async_context(upstream(answer_always))
                front.table.set(HOST, [new], seq)
                assert not old or await front.drained(HOST, old, 10)
                await old_stack.aclose()
                old, old_stack = new, stack
            stop.set()
            assert min(await asyncio.gather(*clients)) > 0
            assert front.counters[HOST]["failures"] == 0
            await old_stack.aclose()

    in_loop(scenario())


def test_a_tunnel_survives_the_switch_of_another_host() -> None:
    async def echo(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        while data := await reader.read(65536):
            writer.write(data)

    async def scenario() -> None:
        async with upstream(echo) as address, door(address) as (front, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            front.table.set("other.localhost", ["127.0.0.1:1"], 1)
            writer.write(b"ping")
            assert head.startswith(b"HTTP/1.1 101")
            assert await reader.readexactly(6) == b"hiping"
            assert not await front.drained(HOST, address, 0)
            writer.close()
            assert await front.drained(HOST, address, 10)

    in_loop(scenario())


def test_events_arrive_one_by_one_while_the_stream_is_open() -> None:
    async def scenario() -> None:
        seen = asyncio.Event()

        async def events(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            await seen.wait()
            writer.write(b"data: 2\n\n")

        async with upstream(events) as address, door(address) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            await reader.readuntil(b"data: 1\n\n")
            seen.set()
            assert await reader.readuntil(b"data: 2\n\n")
            writer.close()

    in_loop(scenario())


def test_fifty_megabytes_pass_down_and_up_unchanged_in_size() -> None:
    size = 50 << 20

    async def big(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert await read_body(head, reader) == size
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            writer.write(bytes(1 << 20))
            await writer.drain()

    async def scenario() -> None:
        async with upstream(big) as address, door(address) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % size)
            for _ in range(size >> 20):
                writer.write(bytes(1 << 20))
                await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(size >> 20):
                await reader.readexactly(1 << 20)
            writer.close()

    in_loop(scenario())


def test_an_upstream_that_dies_mid_answer_leaves_a_visibly_incomplete_one() -> None:
    async def half(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")

    async def scenario() -> None:
        async with upstream(half) as address, door(address) as (front, port):
            answer = await ask(port, GET)
            assert answer.endswith(b"half\r\n")
            assert front.counters[HOST] == {"requests": 1, "failures": 1}

    in_loop(scenario())


def test_100_continue_comes_from_the_upstream_before_the_body_is_sent() -> None:
    async def continuing(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await read_body(head, reader)
        writer.write(OK)

    async def scenario() -> None:
        async with upstream(continuing) as address, door(address) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(b"hi")
            assert await reader.readexactly(len(OK)) == OK
            writer.close()

    in_loop(scenario())


def test_pipelined_requests_are_answered_in_order() -> None:
    async def path(reader: Reader, writer: Writer) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + head.split(b" ")[1])

    async def scenario() -> None:
        async with upstream(path) as address, door(address) as (_, port):
            requests = [b"GET /%d HTTP/1.1\r\n" % number + HEAD + b"\r\n" for number in range(9)]
            answer = await ask(port, b"".join(requests) + CLOSING.replace(b"/ ", b"/9 ", 1))
            positions = [answer.index(b"\r\n\r\n/%d" % number) for number in range(10)]
            assert positions == sorted(positions)

    in_loop(scenario())


def test_a_request_is_held_until_an_upstream_appears() -> None:
    async def scenario() -> None:
        async with upstream(answer_always) as address, door() as (front, port):
            waiting = asyncio.create_task(ask(port, CLOSING))
            while not front.counters:  # noqa: ASYNC110 - the request has no other sign
                await asyncio.sleep(0)
            front.table.set(HOST, [address], 2)
            assert (await waiting).startswith(b"HTTP/1.1 200")

    in_loop(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "broken", "status"),
    [
        (CLOSING, 1, 200),
        (CLOSING, 2, 502),
        (b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n", 1, 502),
        (b"PUT / HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nok", 1, 502),
    ],
)
def test_what_may_be_repeated_is_sent_once_more_when_a_fresh_connection_ends_without_an_answer(
    request_bytes: bytes, broken: int, status: int
) -> None:
    taken = 0

    async def ends_first(reader: Reader, writer: Writer) -> None:
        nonlocal taken
        taken += 1
        if taken > broken:
            await answer_always(reader, writer)
        await reader.readuntil(b"\r\n\r\n")

    async def scenario() -> None:
        async with upstream(ends_first) as address, door(address) as (_, port):
            assert (await ask(port, request_bytes)).startswith(b"HTTP/1.1 %d" % status)
            assert taken == (2 if request_bytes == CLOSING else 1)

    in_loop(scenario())


def test_without_any_upstream_the_answer_says_when_to_come_back() -> None:
    async def scenario() -> None:
        async with door(hold=0.0) as (_, port):
            answer = await ask(port, CLOSING)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"Retry-After" in answer

    in_loop(scenario())


def test_a_refused_connection_moves_on_to_the_next_upstream() -> None:
    async def scenario() -> None:
        async with upstream(answer_always) as address, door("127.0.0.1:1", address) as (_, port):
            assert (await ask(port, CLOSING)).startswith(b"HTTP/1.1 200")

    in_loop(scenario())


def test_what_the_client_claims_about_itself_is_overwritten() -> None:
    async def mirror(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)

    async def scenario() -> None:
        claims = b"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n"
        async with upstream(mirror) as address, door(address) as (_, port):
            answer = await ask(port, CLOSING[:-2] + claims + b"\r\n")
            assert b"6.6.6.6" not in answer
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in answer

    in_loop(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET.replace(HOST.encode(), b"nobody.localhost")[:-2] + b"Connection: close\r\n\r\n", 404),
        (GET[:-2] + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (GET[:-2] + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (GET[:-2] + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (GET[:-2] + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (GET[:-2] + b"X: a\r\n folded\r\n\r\n", 400),
        (GET[:-2] + b"Bad Name: a\r\n\r\n", 400),
        (GET[:-2] + HEAD + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HEAD + b"\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
        (GET[:-2] + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"\x00\xff\x16\x03 nonsense \r\n\r\n", 400),
    ],
)
def test_a_request_that_two_parties_could_read_differently_is_refused(request_bytes: bytes, status: int) -> None:
    async def scenario() -> None:
        async with upstream(answer_always) as address, door(address) as (_, port):
            assert (await ask(port, request_bytes)).startswith(b"HTTP/1.1 %d " % status)

    in_loop(scenario())


def test_rule_14_no_search_engine_lists_a_preview() -> None:
    async def story() -> None:
        async def nobody(_: str) -> None:
            return None

        async with upstream(answer_always) as address:
            hits = Hits(nobody)
            table = RouteTable()
            for host in (HOST, "pr-2-web.preview.localhost"):
                table.set(host, (address,), seq=1)
            hits.hosts.add("pr-2-web.preview.localhost")
            front = Door(table=table, hits=hits)
            port = await front.start()
            try:
                for host, marked in ((HOST, False), ("pr-2-web.preview.localhost", True)):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                    assert (b"X-Robots-Tag: noindex" in await reader.read()) == marked
                    writer.close()
            finally:
                await front.close(grace=0.5)

    in_loop(story())
