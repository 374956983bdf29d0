"""Endless answers as Server-Sent Events: a service's lines, a build's log, a run's changes, each resumable by id.

An id says where the next answer begins, so a client that lost its connection sends it back and misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol

from sse_starlette import EventSourceResponse, ServerSentEvent

from console import queries
from console.projection import Projection
from gitops.clusters import LogLine, ServiceRef
from pipeline.bus import Bus, Message
from pipeline.errors import EncliiError, Invalid
from pipeline.names import token
from pipeline.records import Job

log = logging.getLogger(__name__)

PING_SECONDS: Final = 15
SEND_LIMIT: Final = 20.0
"""Seconds in which a client must take something; it is dropped then, and comes back with the last id it has."""
QUEUE_LIMIT: Final = 64
QUIET_SECONDS: Final = 2.0
BUILDING: Final = frozenset({"queued", "building"})
NANO: Final = 1_000_000_000


class Logs(Protocol):
    """Where the lines of running services come from: a cluster, or a choice among several."""

    def logs(
        self, ref: ServiceRef, *, follow: bool, tail: int | None, since: datetime.datetime | None
    ) -> AsyncIterator[LogLine]:
        """The merged lines of all replicas, oldest first. Raises Unavailable."""
        ...


def response(events: AsyncIterator[ServerSentEvent], stopping: asyncio.Event) -> EventSourceResponse:
    """The answer that carries events until they end, or the client leaves, or ``stopping`` is set."""
    return EventSourceResponse(
        _told(events, stopping), ping=PING_SECONDS, send_timeout=SEND_LIMIT, headers={"Cache-Control": "no-store"}
    )


async def _told(events: AsyncIterator[ServerSentEvent], stopping: asyncio.Event) -> AsyncIterator[ServerSentEvent]:
    """The events, read by one task from first to last, since what is behind them may belong to its task."""
    waiting: asyncio.Queue[ServerSentEvent | None] = asyncio.Queue(QUEUE_LIMIT)
    pump = asyncio.create_task(_pump(events, waiting))
    stop = asyncio.create_task(stopping.wait())
    following = asyncio.create_task(waiting.get())
    try:
        while True:
            done, _ = await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
            told = following.result() if following in done else None
            if told is None:
                return
            yield told
            following = asyncio.create_task(waiting.get())
    finally:
        for task in (pump, stop, following):
            task.cancel()
        await asyncio.gather(pump, stop, following, return_exceptions=True)


async def _pump(events: AsyncIterator[ServerSentEvent], waiting: asyncio.Queue[ServerSentEvent | None]) -> None:
    """The status line is out when a stream fails, so the failure is the last event."""
    try:
        async for one in events:
            await waiting.put(one)
    except EncliiError as error:
        await waiting.put(event("problem", {"detail": error.message, "reason_code": error.reason}))
    except Exception:
        log.exception("a stream broke off")
    await waiting.put(None)


def event(kind: str, data: Any, number: str | None = None) -> ServerSentEvent:
    """One event of a stream, its data as JSON."""
    return ServerSentEvent(json.dumps(data, ensure_ascii=False), event=kind, id=number)


def two_numbers(last_id: str) -> tuple[int, int]:
    """The two numbers of an id such as ``12-3``; (0, 0) for none. Raises Invalid."""
    first, _, second = (last_id or "0-0").partition("-")
    if not (first.isdecimal() and second.isdecimal() and len(last_id) <= 40):
        raise Invalid("Last-Event-ID is not one that was given out", reason="bad_event_id")
    return int(first), int(second)


async def kept_lines(lines: Sequence[dict[str, str]]) -> AsyncIterator[ServerSentEvent]:
    """Lines that were kept of containers that are no more; nothing follows them."""
    for number, line in enumerate(lines, 1):
        yield event("line", line, f"0-{number}")
    yield event("end", {})


async def build_lines(
    bus: Bus, db: Projection, run: str, service: str, *, last_id: str, follow: bool
) -> AsyncIterator[ServerSentEvent]:
    """A build's log, stored or live. An id is a message's sequence and a line's number in it."""
    subject = f"log.build.{token(run, service)}"
    sequence, line = two_numbers(last_id)
    newest = await bus.get(subject)
    until = newest.seq if newest else 0
    if newest is not None or follow:
        before = max(sequence - 1, 0)
        more = functools.partial(building, db, run, service) if follow else _never
        async with (
            bus.watch(subject, after=before) as messages,
            contextlib.aclosing(_while_building(messages, before, until, more)) as read,
        ):
            async for message in read:
                lines, ended = _parsed(message.data)
                skip = line if message.seq == sequence else 0
                for number, entry in enumerate(lines[skip:], skip + 1):
                    yield event("line", entry, f"{message.seq}-{number}")
                if ended:
                    break
    yield event("end", {})


def _never() -> bool:
    return False


async def _while_building(
    messages: AsyncIterator[Message], seen: int, until: int, building: Callable[[], bool]
) -> AsyncGenerator[Message, None]:
    """Messages until what was stored is read and no build can add more: one that was killed writes no end."""
    following = asyncio.ensure_future(anext(messages))
    try:
        while seen < until or building():
            done, _ = await asyncio.wait({following}, timeout=QUIET_SECONDS)
            if not done:
                continue
            message = following.result()
            seen = message.seq
            following = asyncio.ensure_future(anext(messages))
            yield message
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, EncliiError, StopAsyncIteration):
            await following


def building(db: Projection, run: str, service: str) -> bool:
    """Whether more lines may come."""
    job = db.get(Job, run, service)
    return job is None or job.status in BUILDING


def _parsed(data: bytes) -> tuple[list[dict[str, str]], bool]:
    """The lines of one message, and whether it says that the build ended."""
    found: list[dict[str, str]] = []
    ended = False
    for text in data.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(text)
            if isinstance(entry, dict):
                ended = ended or bool(entry.get("end"))
                if "l" in entry:
                    names = {"time": "t", "stream": "s", "step": "p", "text": "l"}
                    found.append({name: str(entry.get(key, "")) for name, key in names.items()})
    return found, ended


async def run_changes(db: Projection, run: str) -> AsyncIterator[ServerSentEvent]:
    """A run's view whenever it changed, until nothing of it moves any more. An id is the position that was read."""
    shown: Any = None
    while True:
        moved = db.moved
        position = db.position()
        view = await asyncio.to_thread(queries.run, db, run)
        if view != shown:
            shown = view
            yield event("run", view, f"{position}-0")
        if view["finished"]:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(moved.wait(), QUIET_SECONDS)
    yield event("end", {})
