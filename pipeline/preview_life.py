"""How long a preview lives and how many there may be: pure, over records and a clock that is given."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from pipeline.moments import before
from pipeline.previews import GONE, Preview

WARNING = 0.1
"""The part of its idle time that is left when a warning is given; at least the quarter of an hour of a sweep."""
SWEEP = 900.0
LONGEST = 30 * 86_400.0
"""What may be asked for at once."""
EVICT = 86_400.0
"""Idle for so long, a preview makes room for another one at the cap."""


@dataclass(frozen=True)
class Limits:
    """What the installation allows; times in seconds."""

    domain: str = "preview.localhost"
    idle: float = 72 * 3_600.0
    sleep: float = 3_600.0
    cap: int = 5
    cap_all: int = 20


def due(since: str, seconds: float) -> str:
    """The moment ``seconds`` after an RFC 3339 time, as one."""
    moment = datetime.datetime.fromisoformat(since) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_between(earlier: str, later_: str) -> float:
    """From one RFC 3339 time to another."""
    first, second = (datetime.datetime.fromisoformat(one) for one in (earlier, later_))
    return (second - first).total_seconds()


def older(said: str, known: str) -> bool:
    """True for a word of the forge from before the one that is known, both by the forge's clock."""
    return before(said, known)


def later(preview: Preview, limits: Limits) -> Preview:
    """The preview with the end that follows from its last activity, or from what somebody extended it to."""
    ends = due(preview.active_at, preview.idle or limits.idle) if preview.active_at else ""
    return replace(preview, expires_at=max(ends, preview.pinned_until))


def full(preview: Preview, others: Sequence[Preview], limits: Limits, cap: int) -> bool:
    """Whether as many are open as may be, in the project or altogether."""
    there = [one for one in others if counted(one) and one.key != preview.key]
    own = sum(one.project == preview.project for one in there)
    return own >= (cap or limits.cap) or len(there) >= limits.cap_all


def counted(one: Preview) -> bool:
    """Whether it takes a place: it has containers or is about to."""
    return one.state not in GONE and (one.state != "waiting" or bool(one.services))


def verdict(preview: Preview, at: str, limits: Limits, *, sleep: float = 0.0) -> str:
    """What its time asks for now: ``expired``, ``warned``, ``asleep`` or nothing."""
    if preview.state in GONE or not preview.expires_at:
        return ""
    left = seconds_between(at, preview.expires_at)
    if left <= 0:
        return "expired"
    if not preview.warned_at and left <= max((preview.idle or limits.idle) * WARNING, SWEEP):
        return "warned" if (preview.idle or limits.idle) > SWEEP else ""
    quiet = seconds_between(preview.active_at, at) if preview.active_at else 0.0
    return "asleep" if preview.state == "ready" and quiet >= (sleep or limits.sleep) > 0 else ""


def evicted(open_: Sequence[Preview], at: str) -> Preview | None:
    """The one that has been idle longest, if that is long enough for another to take its place."""
    idle = [one for one in open_ if counted(one) and not one.pinned_until and one.active_at]
    last = min(idle, key=lambda one: one.active_at, default=None)
    return last if last is not None and seconds_between(last.active_at, at) >= EVICT else None
