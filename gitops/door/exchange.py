"""One request and its answer: finds an upstream, moves both bodies, and decides what a failure means for the client.

A request is sent twice only when no connection was made, or when its connection ended without a byte of an answer and
its method may be repeated (RFC 9110, 9.2.2) and it has not sent a body: a pooled connection may have been dead, and a
fresh one may still have stood in the queue of a process that was just ending. A second fresh one is nobody's accident.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gitops.door.head import Rejection, RequestHead, ResponseHead, plain_answer
from gitops.door.routes import canonical_host
from gitops.door.state import DoorState
from gitops.door.upstream import UpstreamConnection
from gitops.door.waiting import until

if TYPE_CHECKING:
    from gitops.door.connection import ClientConnection

REDIAL_AFTER = 0.1
NO_SERVICE = "no service answers to this name"
STARTING = "the front door has not read all names yet; try again in a moment"
NOT_READY = "the service is not ready; try again in a moment"
BROKEN = "the service ended the connection without a complete answer"
TOO_SLOW = "the service did not answer in time"


class Exchange:
    """Created when a request's head is complete, started when its turn has come on the client's connection."""

    __slots__ = (
        "_address", "_buffered", "_chunked_out", "_continued", "_host", "_raw_until_close", "_repeated", "_sent_body",
        "_state", "_task", "begun", "client", "close", "method", "rejection", "request", "request_done",
        "response_done", "started", "upstream",
    )  # fmt: skip

    def __init__(self, client: ClientConnection, state: DoorState, request: RequestHead | Rejection) -> None:
        self.client = client
        self._state = state
        self.request = request if isinstance(request, RequestHead) else None
        self.rejection = request if isinstance(request, Rejection) else None
        self.method = self.request.method if self.request else b"GET"
        self.upstream: UpstreamConnection | None = None
        self.started = self.begun = self.request_done = self.response_done = False
        self.close = self.request is None or self.request.close
        self._host = canonical_host(self.request.authority.decode("latin-1")) if self.request else ""
        self._address: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._buffered: list[bytes] = []
        self._sent_body = self._continued = self._chunked_out = self._raw_until_close = self._repeated = False

    @property
    def over(self) -> bool:
        return self.request_done and self.response_done

    @property
    def waits_for_upstream(self) -> bool:
        """Whether body bytes that come now would pile up here."""
        return not self.response_done and (self.upstream is None or self.upstream.write_paused)

    def start(self) -> None:
        self.started = True
        if self.request is None:
            self.fail(self.rejection.status if self.rejection else 400, str(self.rejection))
            return
        if self._is_decided():
            self._route()
        else:
            self._task = self._state.loop.create_task(self._decided())

    def _is_decided(self) -> bool:
        return self._state.table.whole or self._state.table.has(self._host)

    async def _decided(self) -> None:
        """Hold the request while a door that has just started does not know all names."""
        found = await until(self._state.table, self._is_decided, timeout=self._state.hold)
        self._task = None
        if found:
            self._route()
        else:
            self.fail(503, STARTING)

    def _route(self) -> None:
        if not self._state.table.has(self._host):
            self.fail(404, NO_SERVICE)
            return
        self._state.count_request(self._host)
        self._find_upstream(pooled=True)

    # -- towards the upstream

    def body(self, data: bytes) -> None:
        assert self.request is not None
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self.request.chunked else data)

    def body_end(self) -> None:
        assert self.request is not None
        self.request_done = True
        if self.request.chunked:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        if self.response_done:
            return
        if self.upstream is None:
            self._buffered.append(data)
            return
        self._sent_body = True
        self.upstream.transport.write(data)

    def _find_upstream(self, *, pooled: bool) -> None:
        assert self.request is not None
        address = self._address = self._state.table.acquire(self._host)
        if address is not None and pooled:
            repeatable = self.request.idempotent and not self.request.has_body
            connection = self._state.pool.take(address, repeatable=repeatable)
            if connection is not None:
                self._attach(connection)
                return
        self._task = self._state.loop.create_task(self._dial())

    async def _dial(self) -> None:
        """Try every upstream in turn, and again whenever the table changes, until one accepts or patience ends."""
        end = self._state.loop.time() + self._state.patience(self._host)
        refused: set[str] = set()
        # The table may have changed between the request's own look and the start of this task.
        self._address = self._address or self._state.table.acquire(self._host)
        while not self._state.closing or self._address is not None:
            if self._address is not None:
                connection = await self._connect(self._address)
                if connection is not None:
                    self._attach(connection)
                    return
                refused.add(self._address)
                self._release()
            elif not await self._table_moves(end, again=bool(refused)):
                break
            else:
                refused.clear()
            self._address = self._state.table.acquire(self._host, avoid=refused)
        self.fail(503, NOT_READY)

    async def _connect(self, address: str) -> UpstreamConnection | None:
        try:
            return await self._state.pool.connect(address)
        except (OSError, TimeoutError):
            return None

    async def _table_moves(self, end: float, *, again: bool) -> bool:
        """Wait for a change of the routes, or shortly for upstreams that refused; False when the time is over."""
        table, version = self._state.table, self._state.table.version
        left = end - self._state.loop.time()
        if left <= 0:
            return False
        moved = await until(table, lambda: table.version != version, timeout=min(left, REDIAL_AFTER) if again else left)
        return moved or again

    def _attach(self, connection: UpstreamConnection) -> None:
        assert self.request is not None
        self._task = None
        self.upstream = connection
        head = self.request.for_upstream(self.client.peer, self._state.scheme)
        if self._buffered:
            head += b"".join(self._buffered)
            self._buffered.clear()
            self._sent_body = True
        connection.serve(self, head)
        self.client.update_reading()

    def _release(self) -> None:
        address, self._address = self._address, None
        if address is not None:
            self._state.table.release(self._host, address)

    # -- towards the client, called by the upstream connection

    def interim(self, head: ResponseHead) -> None:
        assert self.request is not None
        self._continued = self._continued or head.status == 100
        if not self.request.old:
            self.client.transport.write(head.for_client(chunked=False, close=False))

    def begin(self, head: ResponseHead) -> None:
        assert self.request is not None
        self.begun = True
        unframed = not head.bodiless and (head.chunked or head.until_close)
        self._chunked_out = unframed and not self.request.old
        self._raw_until_close = unframed and self.request.old
        # A client that was never told to continue may send its body or not: only closing makes the next bytes clear.
        unasked_body = self.request.expects and not self._continued and not self.request_done
        self.close = self.close or self._state.closing or unasked_body
        if head.status >= 500:
            self._state.count_failure(self._host)
        self.client.touch(self._state.limits.stream)
        marks = self._state.marks(self._host)
        self.client.transport.write(head.for_client(chunked=self._chunked_out, close=self.close, more=marks))

    def forward(self, data: bytes) -> None:
        self.client.moved()
        self.client.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_out else data)

    def end(self, connection: UpstreamConnection, *, reusable: bool) -> None:
        self.upstream = None
        self.response_done = True
        if reusable and self.request_done:
            if self.client.write_paused:
                connection.transport.resume_reading()
            self._state.pool.put(connection)
        else:
            connection.transport.close()
        self._release()
        if self._chunked_out:
            self.client.transport.write(b"0\r\n\r\n")
        self.client.answered(self)

    def lost(self) -> None:
        """The upstream's connection ended early."""
        connection, self.upstream = self.upstream, None
        if self.begun:
            self.truncate()
        elif connection is not None and self._may_repeat(connection):
            self._repeated = self._repeated or connection.served == 0
            self._release()
            self._find_upstream(pooled=False)
        else:
            self.fail(502, BROKEN)

    def _may_repeat(self, connection: UpstreamConnection) -> bool:
        assert self.request is not None
        unanswered = not connection.answered and (connection.served > 0 or not self._repeated)
        return unanswered and self.request.idempotent and not self._sent_body

    def upgraded(self, head: ResponseHead, early: bytes) -> None:
        connection, self.upstream = self.upstream, None
        if connection is None or self.request is None or not self.request.upgrade:
            self.upstream = connection
            self.fail(502, BROKEN)
            return
        self.begun = self.response_done = True
        wire = head.for_client(chunked=False, close=False, upgrade=self.request.upgrade)
        self.client.tunnel(connection, to_client=wire + early, released=self._release)

    def upstream_full(self) -> None:
        self.client.update_reading()

    def upstream_drained(self) -> None:
        self.client.moved()
        self.client.update_reading()

    # -- early ends

    def fail(self, status: int, text: str) -> None:
        """Answer in the service's place; the client's connection stays usable unless its own bytes were the problem."""
        if status in (408, 503) and not self.request_done:
            self.close = True
        self.close = self.close or self._state.closing
        self._let_go()
        self.response_done = True
        if status >= 500 and self._state.table.has(self._host):
            self._state.count_failure(self._host)
        with_body = self.method != b"HEAD"
        self.client.transport.write(plain_answer(status, text, close=self.close, with_body=with_body))
        self.client.answered(self)

    def truncate(self) -> None:
        """The answer stays incomplete, and the client must notice."""
        self._let_go()
        self.response_done = True
        self._state.count_failure(self._host)
        self.client.cut(reset=self._raw_until_close)

    def abandon(self) -> None:
        """The client went away."""
        self._let_go()
        self.response_done = True

    def _let_go(self) -> None:
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        connection, self.upstream = self.upstream, None
        if connection is not None:
            connection.exchange = None
            connection.transport.abort()
        self._buffered.clear()
        self._release()
