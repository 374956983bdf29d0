"""One log for many readers: it is read once, encoded once, and each reader takes it at its own speed.

What was read is kept up to a limit, so that readers who come later, or again with an id, begin in it; whoever wants
more than is kept reads for himself. A reader that takes nothing for a while is dropped, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from typing import Final

from sse_starlette import ServerSentEvent
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from console.streams import PING_SECONDS, SEND_LIMIT, two_numbers
from pipeline.errors import EncliiError

log = logging.getLogger(__name__)

PULSE: Final = 0.05
LONGEST_PULSE: Final = 0.25
CROWD: Final = 4_000
KEPT: Final = 8 << 20
PIECE: Final = 256 << 10
PING: Final = b": ping\r\n\r\n"
HEADERS: Final = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
Source = Callable[[], AsyncIterator[ServerSentEvent]]
Place = tuple[int, int]


class Channel:
    """A log that is being read, and what was read of it; places are the events' ids."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.lines: list[bytes] = []
        self.ended = False
        self.overflown = False
        self.silent = 0
        self.wakers: set[asyncio.Event] = set()
        self._size = 0
        self._joined: tuple[int, int, bytes] = (0, 0, b"")

    async def fill(self, source: AsyncIterator[ServerSentEvent]) -> None:
        """Read to the end; readers are woken a few times a second, for many at once cost little more than one."""
        beating = asyncio.create_task(self._beat())
        try:
            async for event in source:
                line = event.encode()
                self.lines.append(line)
                self.places.append(two_numbers(event.id) if event.id else self.places[-1] if self.places else (0, 0))
                self._size += len(line)
                if self._size > KEPT:
                    self.overflown = True
                    break
        except EncliiError as error:
            log.warning("a log that others read broke off: %s", error)
        finally:
            beating.cancel()
            self.ended = True
            self._wake()

    async def _beat(self) -> None:
        seen, quiet = 0, 0.0
        while True:
            # A crowd is told less often, for each that is woken costs the same.
            pause = min(PULSE + len(self.wakers) / CROWD, LONGEST_PULSE)
            await asyncio.sleep(pause)
            quiet += pause
            if len(self.lines) > seen or quiet >= PING_SECONDS:
                self.silent += len(self.lines) == seen
                seen, quiet = len(self.lines), 0.0
                self._wake()

    def _wake(self) -> None:
        for waker in self.wakers:
            waker.set()

    def begin(self, last: Place) -> int:
        """The index behind a place."""
        return bisect_right(self.places, last) if last != (0, 0) else 0

    def after(self, index: int) -> tuple[bytes, int]:
        """What comes from ``index`` on, a piece of it, and the index behind that; most readers ask for the same."""
        end, size = index, 0
        if self._joined[0] == index and self._joined[1] == len(self.lines):
            return self._joined[2], self._joined[1]
        while end < len(self.lines) and size < PIECE:
            size += len(self.lines[end])
            end += 1
        self._joined = (index, end, b"".join(self.lines[index:end]))
        return self._joined[2], end


class Fanout:
    """The channels that somebody reads."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._filling: dict[str, asyncio.Task[None]] = {}
        self._large: set[str] = set()

    def fits(self, key: str) -> bool:
        """Whether the log is one that can be kept; of a larger one everybody reads for himself."""
        return key not in self._large

    @contextlib.asynccontextmanager
    async def reading(self, key: str, source: Source, waker: asyncio.Event) -> AsyncIterator[Channel]:
        """The channel of that name, which is read as long as somebody is inside; ``waker`` is set when it moved."""
        channel = self._channels.get(key)
        if channel is None or channel.ended:
            channel = self._channels[key] = Channel()
            self._filling[key] = asyncio.create_task(channel.fill(source()))
        channel.wakers.add(waker)
        try:
            yield channel
        finally:
            channel.wakers.discard(waker)
            if channel.overflown:
                self._large.add(key)
            if not channel.wakers and self._channels.get(key) is channel:
                del self._channels[key]
                await ended(self._filling.pop(key))


async def ended(task: asyncio.Task[None]) -> None:
    """End a task and wait until it has."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class Wire:
    """The way to one reader, who has to take what is written within a time."""

    def __init__(self, send: Send, waker: asyncio.Event, ends: list[asyncio.Task[None]]) -> None:
        self._send = send
        self._ends = ends
        self.waker = waker

    @property
    def over(self) -> bool:
        """Whether the reader has left, or the server ends."""
        return any(task.done() for task in self._ends)

    def until(self, task: asyncio.Task[None]) -> None:
        """Also over when the task has ended."""
        self._ends.append(task)
        task.add_done_callback(lambda _: self.waker.set())

    async def write(self, data: bytes) -> None:
        """Hand over. Raises TimeoutError for a reader who takes nothing."""
        async with asyncio.timeout(SEND_LIMIT):
            await self._send({"type": "http.response.body", "body": data, "more_body": True})


class Carried(Response, ABC):
    """An answer of Server-Sent Events that several readers share; ``limit`` is its longest time in seconds."""

    def __init__(self, stopping: asyncio.Event, limit: float | None = None) -> None:
        super().__init__(media_type="text/event-stream")
        self._stopping = stopping
        self._limit = limit

    @abstractmethod
    async def carry(self, wire: Wire) -> None:
        """Write until the end. Raises TimeoutError."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        waker = asyncio.Event()
        until = [_left(receive), _set(self._stopping), *([asyncio.sleep(self._limit)] if self._limit else [])]
        ends = [asyncio.create_task(one) for one in until]
        for task in ends:
            task.add_done_callback(lambda _: waker.set())
        try:
            await self.carry(Wire(send, waker, ends))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.info("dropped a reader of a log that took nothing for %g s", SEND_LIMIT)
        finally:
            for task in ends:
                task.cancel()


class Shared(Carried):
    """The answer that carries a channel from a place on.

    When more was read than is kept, the stream ends behind its last line and the client comes back with its id.
    """

    def __init__(
        self, fanout: Fanout, key: str, source: Source, last: Place, stopping: asyncio.Event,
        limit: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(stopping, limit)
        self._fanout, self._key, self._source, self._last = fanout, key, source, last

    async def carry(self, wire: Wire) -> None:
        async with self._fanout.reading(self._key, self._source, wire.waker) as channel:
            index, silent = -1, channel.silent
            while not wire.over:
                wire.waker.clear()
                if index < 0 and channel.lines:
                    index = _waited(channel, self._last)
                data, index = channel.after(index) if index >= 0 else (b"", index)
                if not data and channel.ended:
                    return
                if data or silent != channel.silent:
                    silent = channel.silent
                    await wire.write(data or PING)
                    if data:
                        continue
                await wire.waker.wait()


def _waited(channel: Channel, last: Place) -> int:
    """Where to begin once the log has been read that far; -1 while it has not."""
    return channel.begin(last) if channel.ended or channel.places[-1] >= last else -1


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _left(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
