"""One client's connection: parses requests, answers them in order, and never holds more than it may.

Requests that arrive while another is being answered wait in a queue; reading stops until their turn has come.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from gitops.door.exchange import TOO_SLOW, Exchange
from gitops.door.head import Headers, Rejection, RequestHead, plain_answer
from gitops.door.state import DoorState
from gitops.door.tunnel import Tunnel
from gitops.door.upstream import UpstreamConnection

log = logging.getLogger(__name__)

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """An asyncio protocol; the first exchange of the queue is the one being answered."""

    transport: asyncio.Transport

    def __init__(self, state: DoorState) -> None:
        self._state = state
        self._limits = state.limits
        self._queue: deque[Exchange] = deque()
        self._incoming: Exchange | None = None
        self._rejection: Rejection | None = None
        self._held: bytearray | None = None
        self._backlog = bytearray()
        self._in_head = self._resuming = self._pumping = False
        self._deaf = self._ending = self._read_paused = False
        self.write_paused = False
        self.peer = b""
        self.deadline = 0.0
        self._silent = 0
        self._new_parser()

    def _new_parser(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self._limits.buffer)
        self.peer = str((transport.get_extra_info("peername") or ("unknown",))[0]).encode()
        full = len(self._state.open) >= self._limits.connections
        self._state.add(self)
        self.touch(self._limits.header)
        if full:
            self._deaf = True
            self.transport.write(plain_answer(503, "too many connections", close=True))
            self._linger()

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._ending:
            return
        if self._held is not None:
            self._held += data
        elif self._backlog or len(self._queue) > 1:
            # Reading goes on for a while, because only a reader notices that the client has gone.
            self._backlog += data
        else:
            self._parse(data)
            self._pump()
        self.update_reading()

    def eof_received(self) -> None:
        """A client that stops sending is gone; returning None closes the transport."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.discard(self)
        self._ending = True
        for exchange in self._queue:
            exchange.abandon()
        self._queue.clear()

    def pause_writing(self) -> None:
        self.write_paused = True
        self.touch(self._limits.body)
        upstream = self._queue[0].upstream if self._queue else None
        if upstream is not None and not upstream.transport.is_closing():
            upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.moved()
        upstream = self._queue[0].upstream if self._queue else None
        if upstream is not None and not upstream.transport.is_closing():
            upstream.transport.resume_reading()
        self._pump()
        self.update_reading()

    # -- parsing

    def _parse(self, data: bytes) -> None:
        while data and not self._deaf and self._held is None:
            self._silent += len(data)
            rest = self._feed(data)
            if self._silent > 2 * self._limits.head_bytes:
                self._refuse(Rejection(431, "the headers are too large"))
            data = rest

    def _feed(self, data: bytes) -> bytes:
        """What is left for a new parser: bytes behind a request that asked to upgrade."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._after_upgrade_request(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._unreadable(error)
        return b""

    def _unreadable(self, error: Exception) -> None:
        if self._deaf:
            return
        if self._rejection is None and not isinstance(error.__context__, (Rejection, type(None))):
            log.error("request could not be handled", exc_info=error)
        self._refuse(self._rejection or Rejection(400, "this is not a valid HTTP request"))

    def _refuse(self, rejection: Rejection) -> None:
        """Say why, in turn, and hear nothing more: what follows cannot be told apart from the bad bytes."""
        if self._deaf:
            return
        self._deaf = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None and not incoming.request_done:
            # Its head was already passed on, but its body is broken: the upstream must not take it for complete.
            self._break_off(incoming, rejection)
            return
        self._queue.append(Exchange(self, self._state, rejection))

    def _break_off(self, exchange: Exchange, rejection: Rejection) -> None:
        if exchange.begun:
            exchange.truncate()
        elif exchange.started:
            exchange.close = True
            exchange.fail(rejection.status, rejection.text)
        else:
            self._queue.remove(exchange)
            self._queue.append(Exchange(self, self._state, rejection))

    def _after_upgrade_request(self, rest: bytes) -> bytes:
        incoming = self._incoming
        self._new_parser()
        if incoming is None or incoming.request is None:
            return b""
        if incoming.request.upgrade and not incoming.response_done:
            self._held = bytearray(rest)
            return b""
        if incoming.request.has_body:
            self._expect_body(incoming.request)
        return rest

    def _expect_body(self, request: RequestHead) -> None:
        """The parser skips a body behind an Upgrade header; an equal head without it makes a new one read it."""
        framing = b"Transfer-Encoding: chunked" if request.chunked else b"Content-Length: %d" % request.length
        self._resuming = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._resuming = False

    # -- parser callbacks

    def on_message_begin(self) -> None:
        if self._resuming:
            return
        self._in_head = True
        self._url = b""
        self._headers: Headers = []
        self._head_size = 0
        if not self._queue:
            self.touch(self._limits.header)

    def on_url(self, url: bytes) -> None:
        if not self._resuming:
            self._url += url
            self._measure(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._resuming:
            return
        self._measure(len(name) + len(value) + 4)
        if self._in_head:
            self._headers.append((name, value))

    def _measure(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head_bytes:
            self._rejection = Rejection(431, "the headers are too large")
            raise self._rejection

    def on_headers_complete(self) -> None:
        self._silent = 0
        if self._resuming:
            return
        self._in_head = False
        parser = self._parser
        try:
            request = RequestHead(parser.get_method(), self._url, parser.get_http_version(), self._headers)
        except Rejection as rejection:
            self._incoming = None
            self._rejection = rejection
            raise
        self._incoming = Exchange(self, self._state, request)
        self._queue.append(self._incoming)
        self._pump()

    def on_body(self, data: bytes) -> None:
        self._silent = 0
        exchange = self._incoming
        if exchange is not None:
            if not exchange.begun:
                self.touch(self._limits.body)
            exchange.body(data)

    def on_message_complete(self) -> None:
        self._silent = 0
        exchange = self._incoming
        if exchange is None or exchange.request is None:
            return
        if self._parser.should_upgrade() and exchange.request.has_body:
            return
        exchange.body_end()
        if not exchange.begun:
            self.touch(self._limits.answer)
        if exchange.request.close:
            self._deaf = True
        if exchange.over:
            self._pump()

    # -- answering in order

    def answered(self, exchange: Exchange) -> None:
        """The exchange's answer is complete, its request perhaps not."""
        if exchange.close:
            self._finish(exchange)
            return
        if exchange.request is not None and exchange.request.upgrade and self._held is not None:
            self._state.loop.call_soon(self._resume_http)
        if exchange.over:
            self._pump()
        else:
            self.touch(self._limits.header)
        self.update_reading()

    def _resume_http(self) -> None:
        """The upgrade was declined, so what came behind the request is HTTP."""
        held, self._held = bytes(self._held or b""), None
        self.data_received(held)

    def _resume_backlog(self) -> None:
        backlog, self._backlog = bytes(self._backlog), bytearray()
        self.data_received(backlog)

    def _finish(self, exchange: Exchange) -> None:
        self._ending = True
        if exchange.request_done:
            self.touch(self._limits.body)
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Closing with unread bytes would reset the connection and take the answer away from the client."""
        self._ending = True
        self.touch(self._limits.linger)
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
        self.update_reading()

    def _pump(self) -> None:
        """Start what may start; one loop, because an exchange may end inside its own start."""
        if self._pumping:
            return
        self._pumping = True
        while self._queue and not self.write_paused and not self._ending:
            exchange = self._queue[0]
            if not exchange.started:
                self.touch(self._limits.answer if exchange.request_done else self._limits.body)
                exchange.start()
            if not exchange.over or self._ending:
                break
            self._queue.popleft()
        self._pumping = False
        if self._backlog and len(self._queue) <= 1:
            self._state.loop.call_soon(self._resume_backlog)
        if not self._queue and not self._ending:
            self._now_idle()

    def _now_idle(self) -> None:
        if self._state.closing:
            self._ending = True
            self.transport.close()
        elif not self._in_head:
            self.touch(self._limits.idle)

    def update_reading(self) -> None:
        """Read only what can go somewhere."""
        if self.transport.is_closing():
            return
        waiting = len(self._held or b"") + len(self._backlog) > self._limits.buffer
        current = self._queue[0] if self._queue else None
        stuck = current is not None and not current.request_done and current.waits_for_upstream
        pause = (waiting or stuck) and not self._ending
        if pause is self._read_paused:
            return
        self._read_paused = pause
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    # -- time and ends

    def touch(self, seconds: float) -> None:
        self.deadline = self._state.loop.time() + seconds

    def moved(self) -> None:
        """Bytes of the current exchange moved: it gets its full time again."""
        if not self.write_paused and not self._ending:
            begun = bool(self._queue) and self._queue[0].begun
            self.touch(self._limits.stream if begun else self._limits.body)

    def expire(self) -> None:
        exchange = self._queue[0] if self._queue else None
        if self._ending:
            self.abort()
        elif exchange is None:
            self._expire_idle()
        elif exchange.response_done:
            self._linger()
        elif exchange.begun:
            exchange.truncate()
        elif exchange.request_done or exchange.waits_for_upstream:
            exchange.fail(504, TOO_SLOW)
        else:
            exchange.fail(408, "the request did not arrive in time")

    def _expire_idle(self) -> None:
        if not self._in_head:
            self._ending = True
            self.transport.close()
            return
        self._refuse(Rejection(408, "the request did not arrive in time"))
        self._pump()

    def finish_soon(self) -> None:
        if not self._queue and not self._in_head:
            self._ending = True
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def cut(self, *, reset: bool) -> None:
        """End a half-sent answer; a reset where closing alone would look like its regular end."""
        self._ending = True
        if not reset:
            self.touch(self._limits.body)
            self.transport.close()
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()

    def tunnel(self, upstream: UpstreamConnection, *, to_client: bytes, released: Callable[[], None]) -> None:
        """Both sides stop speaking HTTP; this protocol leaves the transport to the tunnel."""
        held, self._held = bytes(self._held or b""), None
        self._queue.clear()
        self._ending = True
        if self._read_paused:
            self.transport.resume_reading()
        if self.write_paused:
            upstream.transport.resume_reading()
        tunnel = Tunnel(self._state, client=self.transport, upstream=upstream.transport, released=released)
        tunnel.start(to_client=to_client, to_upstream=held)
        self._state.discard(self)
