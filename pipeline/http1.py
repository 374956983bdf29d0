"""HTTP/1.1 over connections that are kept: what carries the registry client's requests, as a transport of httpx2.

Signing one image takes some thirty requests, and the library's own transport spends more time on each than the registry
does. This one has a parser in C and does what a registry needs and no more: no proxy, no HTTP/2, no trailers.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools
import httpx2

HEAD_LIMIT = 64 << 10
BUFFER = 256 << 10
"""Bytes of a body that wait for their reader before the connection reads no more."""
KEPT = 30.0
"""Seconds for which an idle connection is used again."""

Origin = tuple[str, str, int]
"""(scheme, host, port)"""


class Pool(httpx2.AsyncBaseTransport):
    """At most ``most`` connections at once; the others wait. ``seconds`` bounds each wait for a peer."""

    def __init__(self, *, tls: ssl.SSLContext, seconds: float, most: int = 16) -> None:
        self._tls, self._seconds = tls, seconds
        self._slots = asyncio.Semaphore(most)
        self._idle: dict[Origin, list[Connection]] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request``; the answer's body is read from the connection, which closing the answer gives back."""
        origin, head, body = _origin(request.url), _head(request), await request.aread()
        await self._slots.acquire()
        connection: Connection | None = None
        try:
            while connection := self._kept(origin):
                try:
                    return await self._exchanged(connection, request, origin, head, body)
                except httpx2.NetworkError:
                    if connection.heard:  # else the peer had closed it while it was idle, and saw nothing of this
                        raise
            connection = await self._opened(origin)
            return await self._exchanged(connection, request, origin, head, body)
        except BaseException:
            if connection is not None:
                connection.abort()
            self._slots.release()
            raise

    async def aclose(self) -> None:
        for connections in self._idle.values():
            for one in connections:
                one.abort()
        self._idle.clear()

    async def _exchanged(
        self, connection: Connection, request: httpx2.Request, origin: Origin, head: bytes, body: bytes
    ) -> httpx2.Response:
        status, headers = await connection.ask(head, body, bodiless=request.method == "HEAD")
        stream = _Body(connection, lambda: self._give_back(origin, connection))
        return httpx2.Response(status, headers=headers, stream=stream, request=request)

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        self._slots.release()
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
            raise httpx2.ConnectTimeout("no connection in time") from None
        except OSError as error:  # an untrusted certificate is one too
            raise httpx2.ConnectError(type(error).__name__) from None
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
        self._failure: httpx2.TransportError | None = None

    @property
    def reusable(self) -> bool:
        return self._complete and self._keep and not self._lost and not self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    async def ask(self, head: bytes, body: bytes, *, bodiless: bool) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Send a request; status and headers of its answer. Raises httpx2.TransportError."""
        self._begin(bodiless=bodiless)
        self.heard = False
        self._parser = httptools.HttpResponseParser(self)
        self._transport.writelines((head, body) if body else (head,))
        # A peer may answer before it has read all, and then read no more.
        await self._until(lambda: not self._writing_paused or self._answered)
        await self._until(lambda: self._answered)
        return self._status, self._headers

    async def body(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it comes. Raises httpx2.TransportError when it breaks off."""
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
                raise httpx2.ReadTimeout("no answer in time") from None
            finally:
                self._waiter = None

    def _moved(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: httpx2.TransportError) -> None:
        self._keep = False
        self._failure = self._failure or failure
        self._transport.abort()
        self._moved()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._complete or self._parser is None:
            self._fail(httpx2.RemoteProtocolError("an answer that nobody asked for"))
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._complete:
                self._fail(httpx2.RemoteProtocolError("the answer is not HTTP"))
            self._keep = False
        self._moved()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._answered and self._ends_with_connection():
            self._complete = True
        if not self._complete:
            self._failure = self._failure or httpx2.ReadError("the connection ended before the answer did")
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


class _Body(httpx2.AsyncByteStream):
    def __init__(self, connection: Connection, give_back: Callable[[], None]) -> None:
        self._connection, self._give_back = connection, give_back
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._connection.body():
            yield piece

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._give_back()


def _origin(url: httpx2.URL) -> Origin:
    if url.scheme not in ("http", "https"):
        raise httpx2.UnsupportedProtocol("neither http nor https")
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _head(request: httpx2.Request) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % (name, value) for name, value in request.headers.raw]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise httpx2.LocalProtocolError("a line break in a header")
    return b"\r\n".join([*lines, b"", b""])
