"""HTTP/1.1 over connections that are kept: what carries the registry client's requests.

Signing one image takes some thirty requests, and a general client spends more time on each than the registry does.
This one has a parser in C and does what a registry needs and no more: no proxy, no HTTP/2, no trailers.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import cast

import httptools

from pipeline.address import Address

HEAD_LIMIT = 64 << 10
ERROR_LIMIT = 4 << 20
"""Bytes of an answer that is no success."""
BUFFER = 256 << 10
"""Bytes of a body that wait for their reader before the connection reads no more."""
KEPT = 30.0
"""Seconds for which an idle connection is used again."""

Origin = tuple[str, str, int]
"""(scheme, host, port)"""


class HttpError(Exception):
    """No usable answer came; the subclass tells why, and nothing of the address is in it."""


class NotConnected(HttpError):
    """Nobody listens there, or not with a certificate that is trusted."""


class Disconnected(HttpError):
    """The connection ended before the answer did."""


class TimedOut(HttpError):
    """The peer was silent for too long."""


class NotHttp(HttpError):
    """The peer said something that is no answer, or one that nobody asked for."""


class TooLarge(HttpError):
    """The answer is larger than its reader takes."""


@dataclass(frozen=True)
class Reply:
    """One answer, read whole; the names of its headers are in small letters, repeated ones are joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Pool:
    """At most ``most`` connections at once; the others wait. ``seconds`` bounds each wait for a peer."""

    def __init__(self, *, tls: ssl.SSLContext, seconds: float, most: int = 16) -> None:
        self._tls, self._seconds = tls, seconds
        self._slots = asyncio.Semaphore(most)
        self._idle: dict[Origin, list[Connection]] = {}

    async def ask(
        self, method: str, address: Address, headers: Mapping[str, str], body: bytes | None, *, limit: int
    ) -> Reply:
        """Send one request and read its answer, of a success at most ``limit`` bytes. Raises HttpError, ValueError
        for a header that is none."""
        head = _head(method, address, headers, body)
        async with self._slots:
            connection: Connection | None = None
            try:
                while connection := self._kept(address.origin):
                    try:
                        reply = await _exchanged(connection, method, head, body or b"", limit)
                        break
                    except Disconnected:
                        if connection.heard:  # else the peer had closed it while it was idle, and saw nothing of this
                            raise
                else:
                    connection = await self._opened(address.origin)
                    reply = await _exchanged(connection, method, head, body or b"", limit)
            except BaseException:
                if connection is not None:
                    connection.abort()
                raise
            self._give_back(address.origin, connection)
            return reply

    async def close(self) -> None:
        """End the connections that are idle."""
        for connections in self._idle.values():
            for one in connections:
                one.abort()
        self._idle.clear()

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        if connection.reusable:
            connection.idle_since = time.monotonic()
            self._idle.setdefault(origin, []).append(connection)
        else:
            connection.abort()

    def _kept(self, origin: Origin) -> Connection | None:
        """The connection that was used last: of those that are not needed, the others grow old."""
        connections = self._idle.get(origin, [])
        while connections:
            connection = connections.pop()
            if connection.reusable and time.monotonic() - connection.idle_since < KEPT:
                return connection
            connection.abort()
        return None

    async def _opened(self, origin: Origin) -> Connection:
        scheme, host, port = origin
        tls = self._tls if scheme == "https" else None
        try:
            async with asyncio.timeout(self._seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._seconds), host, port, ssl=tls
                )
        except TimeoutError:
            raise TimedOut("no connection in time") from None
        except OSError as error:  # an untrusted certificate is one too
            raise NotConnected(type(error).__name__) from None
        return connection


class Connection(asyncio.Protocol):
    """One connection with one exchange at a time; ``heard`` tells whether anything of the newest answer has come."""

    def __init__(self, seconds: float) -> None:
        self.idle_since, self.heard = 0.0, False
        self._seconds = seconds
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._lost = self._paused = self._writing_paused = False
        self._begin(bodiless=False)

    def _begin(self, *, bodiless: bool) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._status = self._waiting = self._head_size = 0
        self._bodiless, self._keep = bodiless, False
        self._answered = self._complete = False
        self._failure: HttpError | None = None

    @property
    def reusable(self) -> bool:
        return self._complete and self._keep and not self._lost and not self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    async def ask(self, head: bytes, body: bytes, *, bodiless: bool) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Send a request; status and headers of its answer. Raises HttpError."""
        self._begin(bodiless=bodiless)
        self.heard = False
        self._parser = httptools.HttpResponseParser(self)
        self._transport.writelines((head, body) if body else (head,))
        # A peer may answer before it has read all, and then read no more.
        await self._until(lambda: not self._writing_paused or self._answered)
        await self._until(lambda: self._answered)
        return self._status, self._headers

    async def body(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it comes. Raises HttpError when it breaks off."""
        while True:
            await self._until(lambda: bool(self._body) or self._complete)
            if not self._body:
                return
            pieces, self._body, self._waiting = self._body, [], 0
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            for piece in pieces:
                yield piece

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            if self._failure is not None:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._seconds):
                    await self._waiter
            except TimeoutError:
                raise TimedOut("no answer in time") from None
            finally:
                self._waiter = None

    def _moved(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: HttpError) -> None:
        self._keep = False
        self._failure = self._failure or failure
        self._transport.abort()
        self._moved()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._complete or self._parser is None:
            self._fail(NotHttp("an answer that nobody asked for"))
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._complete:
                self._fail(NotHttp("the answer is not HTTP"))
            self._keep = False
        self._moved()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._answered and self._ends_with_connection():
            self._complete = True
        if not self._complete:
            self._failure = self._failure or Disconnected("the connection ended before the answer did")
        self._moved()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._moved()

    # -- parser callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_LIMIT:
            raise ValueError("the head is too large")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self._status = parser.get_status_code()
        if self._status < 200:
            self._headers = []
            return
        self._answered = True
        self._keep = parser.should_keep_alive()
        self._complete = self._bodiless  # the parser waits for the body that HEAD's Content-Length announces

    def on_body(self, data: bytes) -> None:
        if self._complete:
            raise ValueError("a body that must not be")
        self._body.append(data)
        self._waiting += len(data)
        if self._waiting > BUFFER and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = self._complete or self._answered

    def _ends_with_connection(self) -> bool:
        named = {name.lower() for name, _ in self._headers}
        return not named & {b"content-length", b"transfer-encoding"}


async def _exchanged(connection: Connection, method: str, head: bytes, body: bytes, limit: int) -> Reply:
    status, headers = await connection.ask(head, body, bodiless=method == "HEAD")
    most = limit if 200 <= status < 300 else ERROR_LIMIT
    parts, size = [], 0
    async for part in connection.body():
        size += len(part)
        if size > most:
            raise TooLarge(f"more than {most} bytes")
        parts.append(part)
    return Reply(status, _joined(headers), b"".join(parts))


def _joined(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _head(method: str, address: Address, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = [f"{method} {address.target} HTTP/1.1", f"Host: {address.host_header}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body or b'')}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a header")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
