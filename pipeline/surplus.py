"""Builders beside each other: one that has nothing to do says so, and the others give back half of what waits at them.

A builder takes in what waits, up to a bound, because a fair choice needs to know it all. Without this a builder that
starts while others are busy, as an autoscaler has it, would stay idle until they are done. The hint is no message of a
stream: one that is lost is said again a moment later, and whoever gives back too much gets its part of it again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from pipeline.bus import Bus
from pipeline.errors import EncliiError
from pipeline.turns import Turns

IDLE: Final = "hint.builder.idle"
SAID_EVERY: Final = 1.0


class Surplus:
    """What waits for its turn in this process, and what it says and hears about it."""

    def __init__(self, bus: Bus, turns: Turns) -> None:
        self._bus, self._turns = bus, turns
        self._waiting: dict[asyncio.Event, None] = {}  # in the order of arrival

    @contextlib.contextmanager
    def waiting(self) -> Iterator[asyncio.Event]:
        """While one waits for its turn; the event that is yielded is set once it is better given back."""
        leave = asyncio.Event()
        self._waiting[leave] = None
        try:
            yield leave
        finally:
            del self._waiting[leave]

    async def listen(self) -> None:
        """Give back the later half whenever somebody has nothing to do, for ever."""
        await self._bus.hear(IDLE, self._shared)

    async def say(self) -> None:
        """Say it while a turn is free and nothing waits here, for ever."""
        while True:
            await asyncio.sleep(SAID_EVERY)
            if self._turns.idle:
                with contextlib.suppress(EncliiError):
                    await self._bus.send(IDLE, b"")

    def _shared(self) -> None:
        held = list(self._waiting)
        for leave in held[len(held) // 2 :]:
            leave.set()
