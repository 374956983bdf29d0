"""How long the queue was, and how many builds were not needed, from the jobs' own records."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

import msgspec

from console.texts import moment
from pipeline.runs import Job, Stage

HOURS: Final = 24
DAYS: Final = 14


class Worked(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures need of a job: of many, nothing else is read."""

    status: str = "queued"
    stages: tuple[Stage, ...] = ()
    image: str = ""
    reused: bool = False
    created_at: str = ""
    finished_at: str = ""


def waited(jobs: Sequence[Worked | Job], *, now: datetime.datetime, hours: int = HOURS) -> list[tuple[str, int]]:
    """Each of the last hours, as ``2026-03-31 12:00``, and how many jobs waited at once in it at most; oldest first."""
    spans = [span for one in jobs if (span := _waiting(one, now))]
    last = now.replace(minute=0, second=0, microsecond=0)
    begins = [last - datetime.timedelta(hours=back) for back in range(hours - 1, -1, -1)]
    return [(f"{at:%Y-%m-%d %H:00}", _most(spans, at, at + datetime.timedelta(hours=1))) for at in begins]


def cached(jobs: Sequence[Worked | Job], *, now: datetime.datetime, days: int = DAYS) -> list[tuple[str, int, int]]:
    """Each of the last days, the jobs that took an image that was known, and those that built one; oldest first."""
    found = {(now - datetime.timedelta(days=back)).date().isoformat(): [0, 0] for back in range(days - 1, -1, -1)}
    for one in jobs:
        if one.image and (counts := found.get(one.created_at[:10])):
            counts[not one.reused] += 1
    return [(day, reused, built) for day, (reused, built) in found.items()]


Span = tuple[datetime.datetime, datetime.datetime]


def _waiting(job: Worked | Job, now: datetime.datetime) -> Span | None:
    """From its beginning until its first stage; until its end when it had none."""
    begun = moment(job.created_at)
    known = moment(min((one.started_at for one in job.stages), default=job.finished_at))
    end = known or (now if job.status == "queued" else None)  # of what has ended long ago an old record says no end
    return (begun, end) if begun and end and begun < end else None


def _most(spans: Sequence[Span], begin: datetime.datetime, end: datetime.datetime) -> int:
    """How many overlap at most within a time: the number grows only where one begins."""
    there = [(max(start, begin), stop) for start, stop in spans if start < end and stop > begin]
    return max((sum(start <= at < stop for start, stop in there) for at, _ in there), default=0)
