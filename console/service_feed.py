"""One service's lines for many readers: the cluster is asked once, and each reader takes them at its own speed.

The newest lines are kept up to a limit, so most readers begin in them; who asks for older ones reads those for himself
and then goes on here. The ids are those of ``service_logs``: they count for whoever reads the lines, here or alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from typing import Final

from sse_starlette import ServerSentEvent

from console.fanout import CROWD, LONGEST_PULSE, PULSE, ended
from console.service_logs import WINDOW, Behind, Choice, Seen, shown
from console.streams import PING_SECONDS, Logs, event
from gitops.clusters import LogLine, ServiceRef
from pipeline.errors import EncliiError

log = logging.getLogger(__name__)

BACKLOG: Final = 1_000
KEPT: Final = 8 << 20
PIECE: Final = 256 << 10
Shape = Callable[[ServerSentEvent], ServerSentEvent]
"""How one kind of reader sees a line."""


class Entry:
    """One line with its id, and with its bytes for each kind of reader that asked for them."""

    __slots__ = ("_said", "_told", "line", "newest")

    def __init__(self, line: LogLine, number: str) -> None:
        self.line = line
        self.newest = int(number.partition("-")[0])
        self._told = event("line", shown(line), number)
        self._said: dict[Shape, bytes] = {}

    def encoded(self, shape: Shape) -> bytes:
        if (found := self._said.get(shape)) is None:
            found = self._said[shape] = shape(self._told).encode()
        return found


class Feed:
    """The newest lines of one service; an index counts from the first line that was ever read."""

    def __init__(self, logs: Logs, ref: ServiceRef) -> None:
        self._logs = logs
        self._ref = ref
        self._entries: list[Entry] = []
        self._size = 0
        self._joined: dict[Shape, tuple[int, int, bytes]] = {}
        self._whole = False
        self.base = 0
        self.ready = asyncio.Event()
        self.ended = False
        self.problem: EncliiError | None = None
        self.silent = 0
        self.wakers: set[asyncio.Event] = set()

    @property
    def end(self) -> int:
        return self.base + len(self._entries)

    async def fill(self) -> None:
        """Read what is there, then follow it; readers are woken a few times a second, for each costs the same."""
        beating = asyncio.create_task(self._beat())
        try:
            seen = Seen()
            async for line in self._logs.logs(self._ref, tail=BACKLOG, since=None, follow=False):
                self._take(line, seen)
            self._whole = self.end < BACKLOG
            self.ready.set()
            self._wake()
            behind = Behind(seen)
            async for line in self._logs.logs(self._ref, tail=None, since=seen.since, follow=True):
                if behind.passes(line):
                    self._take(line, seen)
        except EncliiError as error:
            self.problem = error
        except Exception:
            log.exception("reading the lines of %s broke off", self._ref)
        finally:
            beating.cancel()
            self.ended = True
            self.ready.set()
            self._wake()

    def _take(self, line: LogLine, seen: Seen) -> None:
        self._entries.append(Entry(line, seen.take(line)))
        self._size += _weight(line)
        if self._size > KEPT:  # half of it, so that not every line moves the others
            gone = 0
            while self._size > KEPT // 2 and gone < len(self._entries) - 1:
                self._size -= _weight(self._entries[gone].line)
                gone += 1
            del self._entries[:gone]
            self.base += gone

    async def _beat(self) -> None:
        seen, quiet = 0, 0.0
        while True:
            pause = min(PULSE + len(self.wakers) / CROWD, LONGEST_PULSE)
            await asyncio.sleep(pause)
            quiet += pause
            if self.end > seen or quiet >= PING_SECONDS:
                self.silent += self.end == seen
                seen, quiet = self.end, 0.0
                self._wake()

    def _wake(self) -> None:
        for waker in self.wakers:
            waker.set()

    def begin(self, choice: Choice, seen: Seen) -> int:
        """The index where a reader begins; -1 where it has to read older lines for himself first."""
        if seen.newest:
            found = bisect_right(self._entries, seen.newest - WINDOW, key=lambda one: one.newest)
            return self.base + found if found or self._from_the_first else -1
        if choice.since or choice.narrow:
            return -1
        found = self.end - choice.tail
        return found if found >= self.base else self.base if self._from_the_first else -1

    @property
    def _from_the_first(self) -> bool:
        """Whether all lines that there are are kept."""
        return self._whole and self.base == 0

    def at(self, index: int) -> int:
        """The time of the newest line up to ``index``, in nanoseconds."""
        return self._entries[index - self.base].newest

    def piece(self, index: int, shape: Shape) -> tuple[bytes, int]:
        """What comes from ``index`` on, a piece of it, and the index behind that; most readers ask for the same."""
        known = self._joined.get(shape)
        if known and known[0] == index and known[1] == self.end:
            return known[2], known[1]
        found, size, at = [], 0, index
        while at < self.end and size < PIECE:
            found.append(self._entries[at - self.base].encoded(shape))
            size += len(found[-1])
            at += 1
        self._joined[shape] = (index, at, b"".join(found))
        return self._joined[shape][2], at

    def chosen(self, index: int, choice: Choice, behind: Behind, shape: Shape) -> tuple[bytes, int]:
        """As ``piece``, of lines that pass."""
        found, size, at = [], 0, index
        while at < self.end and size < PIECE:
            one = self._entries[at - self.base]
            at += 1
            if choice.has(one.line) and behind.passes(one.line):
                found.append(one.encoded(shape))
                size += len(found[-1])
        return b"".join(found), at


class Feeds:
    """The feeds that somebody reads."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self._feeds: dict[ServiceRef, Feed] = {}
        self._filling: dict[Feed, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def reading(self, ref: ServiceRef, waker: asyncio.Event) -> AsyncIterator[Feed]:
        """The service's feed, which is read as long as somebody is inside; ``waker`` is set when it moved."""
        feed = self._feeds.get(ref)
        if feed is None or feed.ended:
            feed = self._feeds[ref] = Feed(self.logs, ref)
            self._filling[feed] = asyncio.create_task(feed.fill())
        feed.wakers.add(waker)
        try:
            yield feed
        finally:
            feed.wakers.discard(waker)
            if not feed.wakers:
                if self._feeds.get(ref) is feed:
                    del self._feeds[ref]
                await ended(self._filling.pop(feed))


def _weight(line: LogLine) -> int:
    """About what a line takes of the memory."""
    return len(line.text) + 400
