"""Whole streams copied out of a NATS server and into one, with their consumers, in the server's own form.

Both ends wait for each other: the server sends the next piece of a snapshot when the one before was acknowledged, and
answers each piece of a restoration.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.bus import Bus
from pipeline.errors import Unavailable

NO_STREAM: Final = 10059
PIECE: Final = 256 << 10
PIECE_LIMIT: Final = 30.0


@dataclass(frozen=True)
class Copied:
    """What a stream is: its configuration, and how it stands."""

    name: str
    config: Mapping[str, Any]
    state: Mapping[str, Any]

    @property
    def stands(self) -> tuple[int, int, int]:
        """Messages, first and last sequence: what is the same in a stream and in its copy."""
        messages, first, last = (int(self.state.get(key, 0)) for key in ("messages", "first_seq", "last_seq"))
        return messages, first if messages else 0, last


async def stream(bus: Bus, name: str) -> Copied | None:
    """A stream as it is, or None. Raises Unavailable."""
    answer = await bus.asked(f"STREAM.INFO.{name}", {})
    if answer.get("error", {}).get("err_code") == NO_STREAM:
        return None
    return Copied(name, answer["config"], answer["state"])


async def standing(bus: Bus, name: str) -> tuple[Copied, dict[str, Any]] | None:
    """A stream and how far its consumers have come, or None. Raises Unavailable."""
    found = await stream(bus, name)
    return (found, await consumers(bus, name)) if found else None


async def consumers(bus: Bus, name: str) -> dict[str, Any]:
    """The durable consumers of a stream, with how far each has come. Raises Unavailable."""
    found: dict[str, Any] = {}
    offset = 0
    while True:
        answer = await bus.asked(f"CONSUMER.LIST.{name}", {"offset": offset})
        listed = answer.get("consumers") or []
        offset += len(listed)
        found |= {one["name"]: _far(one) for one in listed if one["config"].get("durable_name")}
        if not listed or offset >= int(answer.get("total", 0)):
            return found


def _far(told: Mapping[str, Any]) -> tuple[Any, ...]:
    floor, delivered = told.get("ack_floor", {}), told.get("delivered", {})
    return (
        told.get("num_ack_pending"),
        floor.get("stream_seq"),
        delivered.get("stream_seq"),
        delivered.get("consumer_seq"),
    )


async def paused(bus: Bus, name: str, consumer: str, until: datetime.datetime | None) -> None:
    """Have a consumer hand out nothing until then, or go on at once. Raises Unavailable."""
    wish = {"pause_until": until.isoformat()} if until else {}
    await bus.asked(f"CONSUMER.PAUSE.{name}.{consumer}", wish)


async def snapshot(bus: Bus, name: str) -> AsyncIterator[bytes]:
    """The pieces of a stream's copy. Raises Unavailable when the server stops in between."""
    async with bus.listening() as (inbox, pieces):
        answer = await bus.asked(f"STREAM.SNAPSHOT.{name}", {"deliver_subject": inbox, "chunk_size": PIECE})
        if "error" in answer:
            raise Unavailable(f"no copy of {name}: {answer['error'].get('description')}", reason="no_snapshot")
        while True:
            try:
                async with asyncio.timeout(PIECE_LIMIT):
                    piece, reply, failure = await anext(pieces)
            except TimeoutError as error:
                raise Unavailable(f"the copy of {name} broke off", reason="no_snapshot") from error
            if not piece:
                if failure:
                    raise Unavailable(f"the copy of {name} failed: {failure}", reason="no_snapshot")
                return
            yield piece
            if reply:
                await bus.send(reply, b"")


async def restore(bus: Bus, copied: Copied, pieces: Iterator[bytes]) -> None:
    """Make the stream of its copy; it must not be there. All of it is there afterwards, or nothing.

    Raises Unavailable.
    """
    wish = {"config": dict(copied.config), "state": dict(copied.state)}
    answer = await bus.asked(f"STREAM.RESTORE.{copied.name}", wish)
    if "error" in answer:
        raise Unavailable(f"{copied.name}: {answer['error'].get('description')}", reason="no_restore")
    subject = str(answer["deliver_subject"])
    for piece in pieces:
        for start in range(0, len(piece), PIECE):
            await bus.ask(subject, piece[start : start + PIECE], timeout=PIECE_LIMIT)
    told = (await bus.ask(subject, b"", timeout=4 * PIECE_LIMIT)).decode()
    if '"error"' in told:
        raise Unavailable(f"{copied.name} was not restored: {told[:300]}", reason="no_restore")


async def removed(bus: Bus, name: str) -> None:
    """Delete a stream: for one that is empty and stands in the way of its copy. Raises Unavailable."""
    await bus.asked(f"STREAM.DELETE.{name}", {})
