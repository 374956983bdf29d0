"""One connection to an upstream: parses answers and hands them to the exchange that waits for them.

It serves one exchange after another; whether it may serve the next one is decided at the end of each answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from gitops.door.head import Headers, Rejection, ResponseHead
from gitops.door.limits import Limits

log = logging.getLogger(__name__)


class Answering(Protocol):
    """The part of an exchange that an upstream connection talks to."""

    method: bytes

    def interim(self, head: ResponseHead) -> None: ...
    def begin(self, head: ResponseHead) -> None: ...
    def forward(self, data: bytes) -> None: ...
    def end(self, connection: UpstreamConnection, *, reusable: bool) -> None: ...
    def lost(self) -> None: ...
    def upgraded(self, head: ResponseHead, early: bytes) -> None: ...
    def upstream_drained(self) -> None: ...
    def upstream_full(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """An asyncio protocol; ``exchange`` is None while the connection is idle."""

    transport: asyncio.Transport

    def __init__(self, address: str, *, limits: Limits, lost: Callable[[UpstreamConnection], None]) -> None:
        self.address = address
        self.exchange: Answering | None = None
        self.idle_since = 0.0
        self.served = 0
        self.answered = False
        self.write_paused = False
        self._limits = limits
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._reason = b""
        self._headers: Headers = []
        self._head: ResponseHead | None = None
        self._in_head = True
        self._keep = False
        self._done = False
        self._silent = 0

    def serve(self, exchange: Answering, data: bytes) -> None:
        """Send the request's first bytes; its answer goes to ``exchange``."""
        self.exchange = exchange
        self.answered = False
        self._reset()
        self.transport.write(data)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self._limits.buffer)

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            # Nobody asked. What follows on this connection cannot be told apart from an answer any more.
            self.transport.abort()
            return
        self.answered = True
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._hand_over(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._unreadable(error)
        else:
            if self._silent > 8 * self._limits.head_bytes:
                self._break()
        if self._done:
            self._finish()

    def eof_received(self) -> None:
        if self.exchange is not None and self._head is not None and self._head.until_close:
            self._done = True
            self._keep = False
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.lost()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.upstream_full()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.upstream_drained()

    # -- parser callbacks

    def on_message_begin(self) -> None:
        if self._done:
            self._keep = False
        self._headers = []
        self._reason = b""
        self._in_head = True

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._silent = 0
        if self._done or self.exchange is None:
            return
        status = self._parser.get_status_code()
        head = ResponseHead(status, self._reason, self._headers, method=self.exchange.method)
        if status < 200:
            self._interim(head)
            return
        self._head = head
        self._keep = self._parser.should_keep_alive() and not head.until_close
        self.exchange.begin(head)
        if head.bodiless:
            self._done = True

    def on_body(self, data: bytes) -> None:
        self._silent = 0
        if self._done or self.exchange is None:
            self._keep = False
            return
        self.exchange.forward(data)

    def on_message_complete(self) -> None:
        self._silent = 0
        if self._head is not None:
            self._done = True

    # -- ends of an answer

    def _interim(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._upgrade_head = head
        elif self.exchange is not None:
            self.exchange.interim(head)

    def _hand_over(self, early: bytes) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.upgraded(self._upgrade_head, early)

    def _unreadable(self, error: Exception) -> None:
        if self._done:
            self._keep = False
            return
        cause = error.__context__
        if cause is not None and not isinstance(cause, Rejection):
            log.error("answer of %s could not be passed on", self.address, exc_info=error)
        self._break()

    def _break(self) -> None:
        exchange, self.exchange = self.exchange, None
        self.transport.abort()
        if exchange is not None:
            exchange.lost()

    def _finish(self) -> None:
        exchange, self.exchange = self.exchange, None
        self.served += 1
        if self._head is not None and self._head.bodiless:
            # The parser may still wait for the body that Content-Length announced and HEAD never sends.
            self._parser = httptools.HttpResponseParser(self)
        if exchange is not None:
            exchange.end(self, reusable=self._keep and not self.transport.is_closing())
