"""What waits for each stage: how many events, and how old the oldest is that nobody has finished."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.bus import Bus

WORKED: Final = ("HOOKS", "PIPE")
_PAGE: Final = 256


@dataclass(frozen=True)
class Queue:
    """One stage's queue; ``oldest`` is when its oldest unfinished event was stored, None while there is none."""

    stage: str
    stream: str
    waiting: int
    in_hand: int
    oldest: datetime.datetime | None = None

    def age(self, now: datetime.datetime) -> float:
        """Seconds since then; 0 while nothing waits."""
        return max(0.0, (now - self.oldest).total_seconds()) if self.oldest else 0.0


async def queues(bus: Bus) -> list[Queue]:
    """Every stage's queue, by name. Raises Unavailable."""
    found = [(stream, one) for stream in WORKED for one in await _consumers(bus, stream)]
    return sorted(await asyncio.gather(*(_queue(bus, *one) for one in found)), key=lambda queue: queue.stage)


async def _consumers(bus: Bus, stream: str) -> list[dict[str, Any]]:
    """The durable ones: readers that are made for a moment have no queue."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await bus.asked(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        page = answer.get("consumers") or []
        found += page
        if not page or len(found) >= answer.get("total", 0):
            return [one for one in found if one["config"].get("durable_name")]


async def _queue(bus: Bus, stream: str, told: Mapping[str, Any]) -> Queue:
    waiting, in_hand = int(told["num_pending"]), int(told["num_ack_pending"])
    queue = Queue(str(told["name"]), stream, waiting, in_hand)
    if not waiting and not in_hand:
        return queue
    config = told["config"]
    subjects = config.get("filter_subjects") or [config.get("filter_subject") or ">"]
    floor = int(told["ack_floor"]["stream_seq"])
    times = await asyncio.gather(*(_next(bus, stream, subject, floor) for subject in subjects))
    return Queue(queue.stage, stream, waiting, in_hand, min((one for one in times if one), default=None))


async def _next(bus: Bus, stream: str, subject: str, floor: int) -> datetime.datetime | None:
    """When the first message behind the acknowledged ones was stored."""
    answer = await bus.asked(f"STREAM.MSG.GET.{stream}", {"seq": floor + 1, "next_by_subj": subject})
    text = answer.get("message", {}).get("time", "")
    # Nanoseconds are more than Python reads.
    return datetime.datetime.fromisoformat(text[:19]).replace(tzinfo=datetime.UTC) if text else None
