"""Kept-alive HTTP/1.1 against peers that behave and peers that do not: real bytes over a real socket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pipeline.address import Address
from pipeline.http1 import Disconnected, HttpError, NotConnected, Pool, Reply, TooLarge

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Peer = Callable[[int, bytes], bytes | None]
"""(number of the request on this connection, its head) → the raw answer; None ends the connection unanswered."""


@asynccontextmanager
async def _speaking(peer: Peer, *, close: bool = False) -> AsyncIterator[tuple[Pool, Address, list[bytes]]]:
    """A pool, the peer's address, and the heads of what it was asked, with a mark for each new connection."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(b"connection")
        number = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                number += 1
                seen.append(head.partition(b"\r\n")[0])
                answer = peer(number, head)
                if answer is None:
                    return
                writer.write(answer)
                if close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = Pool(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), seconds=30.0, most=2)
    try:
        yield pool, Address.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2/"), seen
    finally:
        await pool.close()
        server.close()
        await server.wait_closed()


def _ok(body: bytes = b"yes") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _answer(run: Run, peer: Peer, *, method: str = "GET", close: bool = False, limit: int = 1 << 20) -> Reply:
    async def story() -> Reply:
        async with _speaking(peer, close=close) as (pool, address, _):
            return await pool.ask(method, address, {}, None, limit=limit)

    found: Reply = run(story())
    return found


def _asked_twice(run: Run, peer: Peer, *, method: str = "GET") -> list[bytes]:
    async def story() -> list[bytes]:
        async with _speaking(peer) as (pool, address, seen):
            for _ in range(2):
                assert (await pool.ask(method, address, {}, None, limit=1 << 20)).status == 200
            return seen

    found: list[bytes] = run(story())
    return found


def test_one_connection_serves_one_request_after_another(run: Run) -> None:
    assert _asked_twice(run, lambda *_: _ok()).count(b"connection") == 1


def test_a_head_leaves_the_connection_usable_though_a_length_was_named(run: Run) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"

    assert _asked_twice(run, lambda *_: head, method="HEAD").count(b"connection") == 1


def test_what_an_idle_connections_peer_never_saw_is_sent_on_a_new_one(run: Run) -> None:
    seen = _asked_twice(run, lambda number, _: _ok() if number == 1 else None)

    assert seen.count(b"connection") == 2


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + _ok(b"after"), b"after"),
        (b"HTTP/1.1 200 OK\r\n\r\nup to the end", b"up to the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["chunked", "interim", "until-the-end", "no-content"],
)
def test_a_body_is_read_in_each_form(run: Run, answer: bytes, body: bytes) -> None:
    assert _answer(run, lambda *_: answer, close=True).body == body


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (128 << 10) + b"\r\n\r\n",
        b"SSH-2.0-none\r\n",
        b"",
    ],
    ids=["short", "no-last-chunk", "endless-head", "not-http", "nothing"],
)
def test_a_broken_answer_is_an_error(run: Run, answer: bytes) -> None:
    with pytest.raises(HttpError):
        _answer(run, lambda *_: answer, close=True)


def test_bytes_that_nobody_asked_for_cost_the_connection_and_are_no_answer(run: Run) -> None:
    seen = _asked_twice(run, lambda *_: _ok() + b"HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n")

    assert seen.count(b"connection") == 2


def test_a_large_body_comes_whole_and_gives_its_place_back(run: Run) -> None:
    body = b"x" * (3 << 20)

    async def story() -> list[int]:
        async with _speaking(lambda *_: _ok(body)) as (pool, address, _):
            asking = (pool.ask("GET", address, {}, None, limit=4 << 20) for _ in range(6))  # thrice what may be open
            return [len(one.body) for one in await asyncio.gather(*asking)]

    assert run(story()) == [len(body)] * 6


def test_an_answer_beyond_its_limit_costs_the_connection_alone(run: Run) -> None:
    async def story() -> list[bytes]:
        async with _speaking(lambda *_: _ok(b"x" * 100)) as (pool, address, seen):
            for _ in range(3):  # more than may be open at once: each gave its place back
                with pytest.raises(TooLarge):
                    await pool.ask("GET", address, {}, None, limit=99)
            return seen

    assert run(story()).count(b"connection") == 3


def test_headers_are_found_by_small_letters_and_repeated_ones_are_joined(run: Run) -> None:
    raw = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: Basic\r\nwww-authenticate: Bearer\r\n\r\n"

    assert _answer(run, lambda *_: raw).headers["www-authenticate"] == "Basic, Bearer"


def test_a_body_is_announced_even_when_it_is_empty(run: Run) -> None:
    heads: list[bytes] = []

    def peer(_: int, head: bytes) -> bytes:
        heads.append(head)
        return _ok()

    _answer(run, peer, method="POST")

    assert b"\r\nContent-Length: 0\r\n" in heads[0]


def test_a_place_where_nobody_listens_is_told_apart_from_a_lost_connection(run: Run) -> None:
    async def story() -> None:
        async with _speaking(lambda *_: None) as (pool, address, _):
            with pytest.raises(Disconnected):
                await pool.ask("GET", address, {}, None, limit=1)
        with pytest.raises(NotConnected):
            await pool.ask("GET", address, {}, None, limit=1)

    run(story())


def test_a_line_break_never_reaches_a_request(run: Run) -> None:
    async def story() -> list[bytes]:
        async with _speaking(lambda *_: _ok()) as (pool, address, seen):
            with pytest.raises(ValueError, match="line break"):
                await pool.ask("GET", address, {"X": "a\r\nY: b"}, None, limit=1)
            return seen

    assert run(story()) == []
