"""Wakes what waits: when its time is over, and when a release that it comes from gets well or ill.

It holds nothing of its own: the promotions and the observer's records are watched, and each occasion becomes one event
whose id is made of it, so that two wakers, or one that starts again, wake once.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from pipeline.errors import EncliiError
from pipeline.events import WaitEnded
from pipeline.names import token
from pipeline.promotions import OPEN, Promotion
from pipeline.records import Live
from pipeline.store import Store, now

log = logging.getLogger(__name__)

GRACE = datetime.timedelta(milliseconds=20)
"""Times are written in whole milliseconds; being up a little late is never being up too early."""
LONGEST = 3_600.0
RECONNECT = 1.0
Place = tuple[str, str, str]


@dataclass
class Waker:
    """The open promotions by their id, and what the observer last said of the places that they come from."""

    store: Store
    _open: dict[str, Promotion] = field(default_factory=dict)
    _seen: dict[Place, tuple[str, str]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Watch and wake, for ever; a lost connection is taken up again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_kept_up(self._promotions))
            group.create_task(_kept_up(self._lives))
            group.create_task(_kept_up(self._clock))

    async def _promotions(self) -> None:
        async with self.store.bus.watch("st.promotion.*") as messages:
            async for message in messages:
                one = msgspec.json.decode(message.data, type=Promotion)
                self._open.pop(one.id, None)
                if one.status in OPEN:
                    self._open[one.id] = one
                self._changed.set()
                if one.status in OPEN and one.reason in ("not_healthy", "soaking"):
                    await self._tell(one)  # what it waits for may have come while it was written

    async def _lives(self) -> None:
        async with self.store.bus.watch("st.live.*") as messages:
            async for message in messages:
                live = msgspec.json.decode(message.data, type=Live)
                here = (live.project, live.environment, live.service)
                said = (live.deployment, live.healthy_since)
                if self._seen.get(here) != said:
                    self._seen[here] = said
                    for one in [one for one in self._open.values() if here in _places(one)]:
                        await self._tell(one)

    async def _tell(self, one: Promotion) -> None:
        """Once for each state of the places that it comes from."""
        states = [text for here in _places(one) for text in self._seen.get(here, ("", ""))]
        if any(states):
            await self._publish(one, f"live/{token(*states)}")

    async def _clock(self) -> None:
        while True:
            self._changed.clear()
            at = datetime.datetime.now(datetime.UTC)
            waits = {one.id: _left(one, at) for one in self._open.values() if one.wake_at}
            for identity, left in waits.items():
                if left <= 0 and (one := self._open.get(identity)) is not None:
                    await self._publish(one, one.wake_at)
            rest = min((left for left in waits.values() if left > 0), default=LONGEST)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(rest, LONGEST)):
                    await self._changed.wait()

    async def _publish(self, one: Promotion, occasion: str) -> None:
        await self.store.publish(WaitEnded(id=f"{one.id}/{occasion}", at=now(), promotion=one.id))


def _places(one: Promotion) -> list[Place]:
    return [(one.project, one.source, member.service) for member in one.members]


def _left(one: Promotion, at: datetime.datetime) -> float:
    return (datetime.datetime.fromisoformat(one.wake_at) + GRACE - at).total_seconds()


async def _kept_up(doing: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await doing()
        except EncliiError as error:
            log.warning("the waker waits for the event store: %s", error)
        await asyncio.sleep(RECONNECT)
