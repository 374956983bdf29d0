"""Connections that are kept, against peers that behave and peers that do not: real bytes over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from yarl import URL

from pipeline.errors import Invalid, Refused, Unavailable
from pipeline.registry import Registry
from pipeline.registry_connections import MOST, Answer, Connections

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Peer = Callable[[int, bytes], bytes | None]
"""(number of the request on this connection, its head) → the raw answer; None ends the connection unanswered."""

LIMIT = 60.0


@asynccontextmanager
async def _speaking(peer: Peer, *, close: bool = False) -> AsyncIterator[tuple[Connections, URL, list[bytes]]]:
    """The connections, the peer's address, and the heads of what it was asked, with a mark for each new connection."""
    seen: list[bytes] = []
    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(b"connection")
        serving.append(cast(asyncio.Task[None], asyncio.current_task()))
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
    pool = _to(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield pool, pool.own("/v2/"), seen
    finally:
        await pool.close()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*serving)


def _to(host: str, *, plain_http: bool = True) -> Connections:
    return Connections(host, plain_http=plain_http, seconds=LIMIT)


def _ok(body: bytes = b"yes") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _answer(run: Run, peer: Peer, *, method: str = "GET", close: bool = False, limit: int = 1 << 20) -> Answer:
    async def story() -> Answer:
        async with _speaking(peer, close=close) as (pool, address, _):
            return await pool.ask(method, address, {}, None, limit=limit)

    found: Answer = run(story())
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


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_request_that_got_no_answer_on_a_kept_connection_is_not_sent_again(run: Run, method: str) -> None:
    async def story() -> list[bytes]:
        async with _speaking(lambda number, _: _ok() if number == 1 else None) as (pool, address, seen):
            await pool.ask("OPTIONS", address, {}, None, limit=9)
            with pytest.raises(Unavailable):
                await pool.ask(method, address, {}, b"x", limit=9)
            return seen

    assert sum(line.startswith(method.encode() + b" /") for line in run(story())) == 1


def test_an_upload_whose_end_got_no_answer_begins_again_from_the_start(run: Run) -> None:
    ends = iter([None, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"])

    def peer(_: int, head: bytes) -> bytes | None:
        if head.startswith(b"POST"):
            return b"HTTP/1.1 202 Begun\r\nContent-Length: 0\r\nLocation: /v2/up\r\n\r\n"
        return next(ends)

    async def story() -> list[bytes]:
        async with _speaking(peer) as (_, address, seen):
            async with Registry(f"{address.host}:{address.port}", plain_http=True) as registry:
                await registry.put_blob("shop/web", b"")  # without a body, whose bytes the peer would take for a head
            return seen

    methods = [line.split(b" ")[0] for line in run(story()) if line != b"connection"]

    assert methods == [b"POST", b"PUT", b"POST", b"PUT"]


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
    with pytest.raises(Unavailable):
        _answer(run, lambda *_: answer, close=True)


def test_a_large_body_comes_whole_and_gives_its_place_back(run: Run) -> None:
    body = b"x" * (1 << 20)

    async def story() -> list[int]:
        async with _speaking(lambda *_: _ok(body)) as (pool, address, _):
            asking = (pool.ask("GET", address, {}, None, limit=4 << 20) for _ in range(2 * MOST))
            return [len(one.body) for one in await asyncio.gather(*asking)]

    assert run(story()) == [len(body)] * 2 * MOST


def test_an_answer_beyond_its_limit_costs_the_connection_alone(run: Run) -> None:
    async def story() -> list[bytes]:
        async with _speaking(lambda *_: _ok(b"x" * (1 << 20))) as (pool, address, seen):
            for _ in range(MOST + 1):  # more than may be open at once: each gave its place back
                with pytest.raises(Invalid, match="more than 99 bytes"):
                    await pool.ask("GET", address, {}, None, limit=99)
            return seen

    assert run(story()).count(b"connection") == MOST + 1


def test_a_peer_that_answers_drop_by_drop_is_given_up_at_the_deadline(run: Run) -> None:
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        gone.set()

    async def story() -> None:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with Registry(host, plain_http=True, timeout=1.5) as registry:
                with pytest.raises(Unavailable) as caught:
                    await registry.manifest("shop/web", "v1")
            await gone.wait()  # the connection was ended too
        assert caught.value.reason in {"registry_timeout", "registry_unreachable"}  # a busy machine drips late

    run(story())


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


def test_a_place_where_nobody_listens_is_said_without_its_address(run: Run) -> None:
    async def story() -> Unavailable:
        async with _speaking(lambda *_: None) as (pool, address, _):
            pass
        with pytest.raises(Unavailable) as caught:
            await pool.ask("GET", pool.allowed(address, "/v2/?_state=secret"), {}, None, limit=1)
        await pool.close()
        return caught.value

    error = run(story())

    assert (error.reason, "secret" in str(error)) == ("registry_unreachable", False)


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("/v2/x?_state=a%2Bb+c", "http://one.example:5000/v2/x?_state=a%2Bb+c"),
        ("next?n=1", "http://one.example:5000/v2/next?n=1"),
        ("https://two.example/blob", "https://two.example/blob"),
    ],
)
def test_a_location_leads_on_from_where_it_was_said(location: str, leads: str) -> None:
    pool = _to("one.example:5000")

    assert str(pool.allowed(pool.own("/v2/"), location)) == leads


@pytest.mark.parametrize(
    "location", ["http://user:word@two.example/", "http://[::", "http://two.example:70000/", "/a\r\nX: b"]
)
def test_what_is_no_address_or_holds_a_login_is_not_followed(location: str) -> None:
    pool = _to("one.example")

    with pytest.raises(Unavailable) as caught:
        pool.allowed(pool.own("/v2/"), location)
    with pytest.raises(Unavailable):
        pool.token_service(location)

    assert caught.value.reason == "registry_lied"


@pytest.mark.parametrize("location", ["http://one.example/", "//two.example:80/", "ftp://one.example/"])
def test_tls_is_never_given_up(location: str) -> None:
    pool = _to("one.example", plain_http=False)

    with pytest.raises(Refused) as caught:
        pool.allowed(pool.own("/v2/"), location.replace("//two", "http://two"))

    assert caught.value.reason == "registry_downgrade"


@pytest.mark.parametrize(
    "text", ["http://one.example:81/", "https://one.example/", "http://one.example.two/", "http://two.example/"]
)
def test_only_the_registrys_own_origin_gets_its_login(text: str) -> None:
    pool = _to("one.example")

    assert pool.is_own(URL("http://one.example:80/v2/"))
    assert not pool.is_own(URL(text))


def test_the_library_is_loaded_with_the_first_request_alone() -> None:
    opened = "from pipeline.registry import Registry; Registry('r:5000', plain_http=True)"
    code = f"import sys; {opened}; print('aiohttp' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
