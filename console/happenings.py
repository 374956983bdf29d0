"""``GET /v1/events``: what happens, from every stage, as Server-Sent Events that resume where a reader stopped.

An event's body may hold what not everybody shall read (a hook, a manifest), so what is told of it is named here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sse_starlette import ServerSentEvent

from console import sight
from console.streams import event, two_numbers
from pipeline.bus import Bus, Message

TOLD: Final = (
    "id", "at", "trace", "project", "environment", "service", "run", "release", "deployment", "promotion", "image",
    "sha", "ref", "actor", "status", "reason",
)  # fmt: skip
PREFIX: Final = "dev.enclii."
EVERY: Final = "ev.>"
SPAN: Final = 20_000
"""How far back the last ones are looked for, in messages of the stream."""
READ_LIMIT: Final = 10.0
MOST: Final = 1_000


@dataclass(frozen=True)
class Wanted:
    """Which events: an empty field is any."""

    project: str = ""
    environment: str = ""
    service: str = ""
    type: str = ""

    def fits(self, told: dict[str, Any]) -> bool:
        """Whether an event is one of them; one that is about no service is not about another one."""
        kind = not self.type or told["type"] == self.type
        names = ("project", "environment", "service")
        return kind and all(getattr(self, name) in ("", told.get(name)) for name in names)


async def happenings(
    bus: Bus, wanted: Wanted, *, last_id: str, tail: int = 0, follow: bool = True
) -> AsyncIterator[ServerSentEvent]:
    """Events behind ``last_id``, else the last ``tail`` of those that are kept; then, with ``follow``, those that come.

    Raises Invalid, Unavailable.
    """
    after, _ = two_numbers(last_id)
    if not last_id:
        newest = await bus.get(EVERY)
        after = newest.seq if newest else 0
        for one in await _recent(bus, wanted, after, tail) if tail else ():
            yield one
    if follow:
        async with bus.watch(EVERY, after=after) as messages:
            async for message in messages:
                if (told := _shown(message, wanted)) is not None:
                    yield told
    yield event("end", {})


async def _recent(bus: Bus, wanted: Wanted, newest: int, count: int) -> Iterable[ServerSentEvent]:
    """The last ``count`` among the newest that are kept, oldest first; what expires while it is read is not there."""
    found: deque[ServerSentEvent] = deque(maxlen=count)
    if not newest:
        return found
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_LIMIT), bus.watch(EVERY, after=max(newest - SPAN, 0)) as messages:
            async for message in messages:
                if message.seq <= newest and (one := _shown(message, wanted)) is not None:
                    found.append(one)
                if message.seq >= newest:
                    break
    return found


def _shown(message: Message, wanted: Wanted) -> ServerSentEvent | None:
    """An event that is wanted and that its reader may see."""
    told = _told(message)
    if told is None or not wanted.fits(told):
        return None
    if not sight.sees(told.get("project", ""), told.get("environment", "")):
        return None
    return event("event", told, f"{message.seq}-0")


def _told(message: Message) -> dict[str, Any] | None:
    kind = message.headers.get("ce-type", "").removeprefix(PREFIX).rsplit(".v", 1)[0]
    try:
        body = json.loads(message.data)
    except ValueError:
        return None
    known = {key: body[key] for key in TOLD if isinstance(body, dict) and isinstance(body.get(key), str)}
    at = message.headers.get("ce-time", "")
    return {"type": kind, "source": message.headers.get("ce-source", ""), "at": at, **known}


def _text(told: dict[str, Any], name: str) -> str:
    return str(told.get(name, ""))
