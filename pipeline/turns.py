"""Who builds next when many wait: the repository that has had the least of the builders, with a cap for each.

The measure is builder-seconds, not builds, so a repository with long builds does not get more than one with short
ones. A repository that comes back after a pause starts where the least served of those that wait is: it neither pays
for having been idle nor collects for it. Previews have shares of their own, which wait for all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping

PREVIEWS = ":previews"
"""How the shares of previews end; a colon is in no repository's name."""


def next_share(
    waiting: Collection[str], running: Mapping[str, int], served: Mapping[str, float], *, cap: int
) -> str | None:
    """The share whose turn it is: the least served of those below their cap, previews' last; the first wins a draw."""
    able = [share for share in waiting if running.get(share, 0) < cap]
    return min(able, key=lambda share: (_behind(share), served.get(share, 0.0))) if able else None


class Turns:
    """``slots`` turns at a time, at most ``cap`` of them for one share."""

    def __init__(self, slots: int, *, cap: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = slots
        self._cap = cap
        self._clock = clock
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._running: Counter[str] = Counter()
        self._began: dict[object, tuple[str, float]] = {}
        self._served: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def turn(self, share: str) -> AsyncIterator[None]:
        """Wait for a turn of ``share``, first come first served within it, and hold it for the body."""
        await self._granted(share)
        ticket = object()
        self._began[ticket] = (share, self._clock())
        try:
            yield
        finally:
            _, began = self._began.pop(ticket)
            self._served[share] = self._served.get(share, 0.0) + self._clock() - began
            self._give_back(share)

    @property
    def idle(self) -> bool:
        """Whether a turn is free and nobody wants one."""
        return self._free > 0 and not self._waiting

    def waiting(self) -> dict[str, int]:
        """How many wait, by share."""
        return {share: len(queue) for share, queue in self._waiting.items()}

    async def _granted(self, share: str) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if share not in self._waiting and not self._running[share]:
            self._served[share] = max(self._served.get(share, 0.0), self._floor(_behind(share)))
        self._waiting.setdefault(share, []).append(granted)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # granted in the same moment
                self._give_back(share)
            else:
                self._forget(share, granted)
            raise

    def _floor(self, behind: bool) -> float:
        """Among its like alone: what previews had in their long waits would put a repository before its equals."""
        there = {*self._waiting, *(share for share, _ in self._began.values())}
        active = [self._used(share) for share in there if _behind(share) is behind]
        past = [used for share, used in self._served.items() if _behind(share) is behind]
        return min(active, default=max(past, default=0.0))

    def _used(self, share: str) -> float:
        now = self._clock()
        return self._served.get(share, 0.0) + sum(now - began for of, began in self._began.values() if of == share)

    def _grant(self) -> None:
        while self._free:
            used = {share: self._used(share) for share in self._waiting}
            share = next_share(self._waiting, self._running, used, cap=self._cap)
            if share is None:
                return
            granted = self._waiting[share][0]
            self._forget(share, granted)
            if granted.cancelled():  # whoever waited has gone, and is not yet out of the queue
                continue
            self._free -= 1
            self._running[share] += 1
            granted.set_result(None)

    def _give_back(self, share: str) -> None:
        self._free += 1
        self._running[share] -= 1
        if not self._running[share]:
            del self._running[share]
        self._grant()

    def _forget(self, share: str, granted: asyncio.Future[None]) -> None:
        queue = self._waiting.get(share, [])
        if granted in queue:
            queue.remove(granted)
        if not queue:
            self._waiting.pop(share, None)


def _behind(share: str) -> bool:
    return share.endswith(PREVIEWS)
