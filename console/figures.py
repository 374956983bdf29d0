"""How well a service is delivered, after DORA: frequency, lead time, change failure rate, time to restore.

Pure functions over deployments. A change is a deployment that came by a push, a promotion or a redeploy; rollbacks,
restarts and scalings are none. It failed when it never ran, or when somebody went back behind it.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from console.texts import moment
from pipeline.records import Deployment

CHANGES: Final = frozenset({"push", "promotion", "deploy"})
BAD: Final = frozenset({"failed", "rolled_back"})
RAN: Final = frozenset({"running", "degraded", "rolled_back", "replaced", "removed"})
DAYS: Final = 30


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures need of a deployment: of many, nothing else is read."""

    project: str
    environment: str
    service: str
    status: str = "pending"
    via: str = "push"
    run: str = ""
    created_at: str = ""
    running_at: str = ""


class Began(msgspec.Struct, frozen=True, kw_only=True):
    """When a run began."""

    id: str
    created_at: str


@dataclass(frozen=True)
class Figures:
    """Of one service or project in a span of days; seconds, and None where nothing says it."""

    changes: int
    days: int
    lead: float | None
    failed: int
    restore: float | None

    @property
    def a_week(self) -> float:
        return 7 * self.changes / self.days

    @property
    def failure_rate(self) -> float | None:
        """From 0 to 1."""
        return self.failed / self.changes if self.changes else None


def figures(
    deployments: Sequence[Change | Deployment], pushed: Mapping[str, str], *, now: datetime.datetime, days: int = DAYS
) -> Figures:
    """Of ``deployments`` of any places; ``pushed`` says when each run began, as RFC 3339."""
    begin = now - datetime.timedelta(days=days)
    lately = [one for one in deployments if (at := moment(one.created_at)) and begin <= at <= now]
    changes = [one for one in lately if one.via in CHANGES and one.status not in ("held", "pending")]
    leads = [seconds for one in changes if (seconds := _between(pushed.get(one.run, ""), one.running_at)) is not None]
    return Figures(
        changes=len(changes),
        days=days,
        lead=statistics.median(leads) if leads else None,
        failed=sum(one.status in BAD for one in changes),
        restore=_restore(lately),
    )


def by_day(
    deployments: Sequence[Change | Deployment], *, now: datetime.datetime, days: int = DAYS
) -> list[tuple[str, int, int]]:
    """Day, changes that ran and changes that failed, the oldest first."""
    found: dict[str, list[int]] = {}
    for back in range(days - 1, -1, -1):
        found[(now - datetime.timedelta(days=back)).date().isoformat()] = [0, 0]
    for one in deployments:
        if one.via in CHANGES and one.created_at[:10] in found and one.status not in ("held", "pending"):
            found[one.created_at[:10]][one.status in BAD] += 1
    return [(day, good, bad) for day, (good, bad) in found.items()]


def _restore(deployments: Sequence[Change | Deployment]) -> float | None:
    """From the beginning of each deployment that failed to the next one of its place that ran; the median."""
    found: list[float] = []
    ordered = sorted(deployments, key=lambda one: one.created_at)
    for number, bad in enumerate(ordered):
        if bad.status not in BAD:
            continue
        place = (bad.project, bad.environment, bad.service)
        after = (one for one in ordered[number + 1 :] if (one.project, one.environment, one.service) == place)
        good = next((one for one in after if one.running_at and one.status in RAN), None)
        if good and (seconds := _between(bad.created_at, good.running_at)) is not None:
            found.append(seconds)
    return statistics.median(found) if found else None


def _between(first: str, last: str) -> float | None:
    start, end = moment(first) if first else None, moment(last) if last else None
    return max(0.0, (end - start).total_seconds()) if start and end else None
