"""That somebody looks: the observer's own record, so that "healthy for so long" is said only of what was observed.

A record of what runs stays as it was when the observer dies; this one grows old.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
from dataclasses import dataclass

from gitops.rules.freeze import stamp
from pipeline.errors import EncliiError
from pipeline.records import Observer
from pipeline.store import Change, Step, Store

log = logging.getLogger(__name__)

BEAT = 10.0
GAP = datetime.timedelta(seconds=30)
"""A restart of the observer; after more nobody knows what happened meanwhile."""
JUMP = 2.0
"""Seconds by which the clock on the wall may run differently than time passes, before it was set or stood still."""


def beaten(before: Observer | None, at: datetime.datetime, *, passed: float | None) -> Observer:
    """The record at ``at``: observation goes on without a break, or begins.

    ``passed``: the seconds since ``before`` by a clock that nobody sets; None where this process did not write it.
    """
    if before is None:
        return Observer(since=stamp(at), at=stamp(at))
    wall = at - datetime.datetime.fromisoformat(before.at)
    set_anew = passed is not None and abs(wall.total_seconds() - passed) > JUMP
    broken = wall < datetime.timedelta(0) or wall > GAP or set_anew
    return Observer(since=stamp(at) if broken else before.since, at=stamp(at))


@dataclass
class Heartbeat:
    """Beats while the observer's process works and the event store takes what it sees."""

    store: Store
    _last: Observer | None = None
    _beaten: float | None = None

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            with contextlib.suppress(EncliiError):  # what it saw meanwhile is not recorded either
                await self.beat()
            await asyncio.sleep(BEAT)

    async def beat(self) -> Observer:
        """Once. Raises Unavailable when the event store does not answer."""
        if self._last is None:
            stored = await self.store.get(Observer, Observer.NAME)
            self._last = stored.record if stored else None
        moment = time.monotonic()
        passed = None if self._beaten is None else moment - self._beaten
        new = beaten(self._last, datetime.datetime.now(datetime.UTC), passed=passed)
        if self._last is not None and new.since != self._last.since:
            log.warning("nobody observed since %s: whatever soaks begins anew", self._last.at)
        await self.store.commit(Step((Change(new, None),)))
        self._last, self._beaten = new, moment
        return new
