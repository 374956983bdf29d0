"""Records and events over the bus, typed: read a record, then commit records and events as one atomic step.

The sequence that came with a record is the compare-and-set token of its next version; a record that was never
written is expected to be absent. So two processes that act on the same state cannot both win.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from pipeline import tracing
from pipeline.bus import Bus, Entry, Write
from pipeline.errors import Conflict
from pipeline.events import Event
from pipeline.guard import Guard, unguarded
from pipeline.records import KINDS, Record

R = TypeVar("R", bound=Record)


def now() -> str:
    """The time as RFC 3339 in UTC with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Stored(Generic[R]):
    """A record as it was read, with the sequence that its next version must expect."""

    record: R
    seq: int


@dataclass(frozen=True)
class Change:
    """A record's next version; ``seq`` is what was read (0: it must not exist), None writes over anything."""

    record: Record
    seq: int | None = 0


@dataclass(frozen=True)
class Step:
    """What one stage did: state and events that become true together."""

    changes: tuple[Change, ...] = ()
    events: tuple[Event, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.events)


@dataclass(frozen=True)
class Store:
    """The typed side of the bus; ``source`` names the process in what it writes."""

    bus: Bus
    source: str = field(default="enclii")
    guard: Guard = unguarded
    """Asked before anything is written; raises when it must not be."""

    async def get(self, kind: type[R], *key: str) -> Stored[R] | None:
        """The record of that kind and key, or None. Raises Unavailable."""
        entry = await self.bus.get(kind.subject_of(*key))
        return Stored(msgspec.json.decode(entry.data, type=kind), entry.seq) if entry else None

    async def all(self, kind: type[R]) -> list[R]:
        """Every record of a kind, oldest change first. Raises Unavailable."""
        entries = await self.bus.scan(f"st.{kind.kind}.*")
        return [msgspec.json.decode(entry.data, type=kind) for entry in entries]

    async def first(self, kind: type[R], *key: str, such: Callable[[R], bool], limit: float) -> R | None:
        """The record as soon as it is ``such``; None when it was not within ``limit`` seconds. Raises Unavailable."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit), self.bus.watch(kind.subject_of(*key)) as messages:
                async for message in messages:
                    record = msgspec.json.decode(message.data, type=kind)
                    if such(record):
                        return record
        return None

    async def commit(self, step: Step) -> None:
        """Make the step true, whole or not at all. Raises Conflict when the state moved, Unavailable."""
        self.guard()
        writes = [Write(c.record.subject, c.record.encode(), c.seq, self._headers(c.record.kind)) for c in step.changes]
        writes += [self.write_of(event) for event in step.events]
        if writes:
            await self.bus.commit(*writes)

    async def publish(self, *events: Event, headers: Mapping[str, str] | None = None) -> bool:
        """Publish each event once, with ``headers`` beside our own; False when all were there already.

        Raises Unavailable.
        """
        self.guard()
        fresh = False
        for event in events:
            try:
                await self.bus.commit(self.write_of(event, headers=headers))
                tracing.published(event)
                fresh = True
            except Conflict:
                continue
        return fresh

    def write_of(self, event: Event, *, headers: Mapping[str, str] | None = None) -> Write:
        """The write that publishes the event, unless it is there."""
        return Write(event.subject, event.encode(), 0, self._event_headers(event) | dict(headers or {}))

    def _headers(self, kind: str) -> dict[str, str]:
        return {"Enclii-Kind": kind}

    def _event_headers(self, event: Event) -> dict[str, str]:
        """CloudEvents 1.0, binary mode."""
        headers = {"ce-specversion": "1.0", "ce-id": event.id, "ce-type": f"dev.enclii.{event.type}.v{event.version}"}
        headers |= {"ce-source": f"/enclii/{self.source}", "ce-time": event.at or now()}
        return headers | ({"traceparent": event.trace} if event.trace else {})


def record_of(entry: Entry) -> Record | None:
    """The record that a ``st.…`` message holds; None for a kind that this version does not know."""
    kind = KINDS.get(entry.subject.split(".")[1])
    return msgspec.json.decode(entry.data, type=kind) if kind else None
