"""``GET /v1/events``: what happens, from every stage, as Server-Sent Events that resume where a reader stopped.

An event's body may hold what not everybody shall read (a hook, a manifest), so what is told of it is named here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from sse_starlette import ServerSentEvent

from console import sight
from console.streams import two_numbers
from pipeline.bus import Bus, Message

TOLD: Final = (
    "id", "at", "trace", "project", "environment", "service", "run", "release", "deployment", "promotion", "image",
    "sha", "ref", "actor", "status", "reason",
)  # fmt: skip
PREFIX: Final = "dev.enclii."


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


async def happenings(bus: Bus, wanted: Wanted, *, last_id: str) -> AsyncIterator[ServerSentEvent]:
    """Events behind ``last_id``, stored ones first; without it only those that come. Raises Invalid, Unavailable."""
    after, _ = two_numbers(last_id)
    newest = 0 if last_id else (await bus.asked("STREAM.INFO.PIPE", {}))["state"]["last_seq"]
    async with bus.watch("ev.>", after=after or newest) as messages:
        async for message in messages:
            told = _told(message)
            if (
                told is not None
                and wanted.fits(told)
                and sight.sees(told.get("project", ""), told.get("environment", ""))
            ):
                yield ServerSentEvent(json.dumps(told, ensure_ascii=False), event="event", id=f"{message.seq}-0")


def _told(message: Message) -> dict[str, Any] | None:
    kind = message.headers.get("ce-type", "").removeprefix(PREFIX).rsplit(".v", 1)[0]
    try:
        body = json.loads(message.data)
    except ValueError:
        return None
    known = {key: body[key] for key in TOLD if isinstance(body, dict) and isinstance(body.get(key), str)}
    return {"type": kind, "source": message.headers.get("ce-source", ""), **known}


def _text(told: dict[str, Any], name: str) -> str:
    return str(told.get(name, ""))
