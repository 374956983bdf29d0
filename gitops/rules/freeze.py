"""Freeze windows: whether a moment lies in one, and when it is over. Pure functions over times.

A window goes from one moment to another (``2026-12-20`` to ``2027-01-04``), or comes each week (``fri 16:00`` to
``mon 08:00``), by the clock on the wall of its zone. Its end is no part of it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gitops.fields import PROJECT
from pipeline.promotions import FreezeWindow

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK = 7 * 24 * 60
CHAINED = 64
_WEEKLY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun) ([01][0-9]|2[0-3]):([0-5][0-9])")
_KEYS = frozenset({"from", "until", "zone", "reason"})
_Moments = tuple[datetime.datetime, datetime.datetime]


@dataclass(frozen=True)
class Frozen:
    """A freeze that holds now; ``until`` is None when only a person ends it."""

    reason: str
    until: datetime.datetime | None = None

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"frozen until {stamp(self.until)}{why}" if self.until else f"frozen until somebody thaws it{why}"


def parse(item: object, where: str) -> FreezeWindow:
    """One entry of ``freeze:``. Raises Invalid, which names the field."""
    if not isinstance(item, Mapping):
        raise PROJECT.wrong(where, "must be a mapping with from and until")
    item = PROJECT.mapping(item, where, _KEYS)
    start, end = (_text(item.get(key), f"{where}.{key}") for key in ("from", "until"))
    zone, reason = item.get("zone", "UTC"), item.get("reason", "")
    if not isinstance(reason, str) or "\n" in reason or len(reason) > 200:
        raise PROJECT.wrong(f"{where}.reason", "must be a text on one line")
    window = FreezeWindow(start=start, end=end, zone=_zone(zone, f"{where}.zone"), reason=reason)
    _check(window, where)
    return window


def frozen(windows: Iterable[FreezeWindow], at: datetime.datetime) -> Frozen | None:
    """The freeze that ``at`` lies in, until the first moment in which no window holds; None when there is none."""
    known = tuple(windows)
    reason, moment = "", at
    for _ in range(CHAINED):  # windows that cover the whole week never end: then it is looked at again
        found = max(((end, one.reason) for one in known if (end := _end(one, moment)) is not None), default=None)
        if found is None:
            break
        reason = reason or found[1]
        moment = found[0]
    return Frozen(reason, moment) if moment > at else None


def stamp(at: datetime.datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as records have it."""
    return at.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _end(window: FreezeWindow, at: datetime.datetime) -> datetime.datetime | None:
    """When the window that holds at ``at`` is over; None when it does not hold."""
    for start, end in _occurrences(window, at):
        if start <= at < end:
            return end
    return None


def _occurrences(window: FreezeWindow, at: datetime.datetime) -> list[_Moments]:
    zone = ZoneInfo(window.zone)
    start = _weekly(window.start)
    if start is None:
        return [(_moment(window.start, zone), _moment(window.end, zone))]
    end = _weekly(window.end)
    assert end is not None
    local = at.astimezone(zone)
    monday = datetime.datetime.combine(local.date() - datetime.timedelta(days=local.weekday()), datetime.time())
    minutes = (end - start) % WEEK
    return [_week(monday, weeks, start, minutes, zone) for weeks in (-1, 0)]


def _week(monday: datetime.datetime, weeks: int, start: int, minutes: int, zone: ZoneInfo) -> _Moments:
    """One week's window; an hour that the clock skips or shows twice counts as frozen."""
    begin = monday + datetime.timedelta(weeks=weeks, minutes=start)
    end = begin + datetime.timedelta(minutes=minutes)
    return min(_readings(begin, zone)), max(_readings(end, zone))


def _readings(wall: datetime.datetime, zone: ZoneInfo) -> list[datetime.datetime]:
    return [_utc(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)]


def _utc(at: datetime.datetime) -> datetime.datetime:
    return at.astimezone(datetime.UTC)


def _moment(text: str, zone: ZoneInfo) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(text)
    return _utc(found if found.tzinfo else found.replace(tzinfo=zone))


def _weekly(text: str) -> int | None:
    """Minutes since Monday's midnight; None for a text of another form."""
    found = _WEEKLY.fullmatch(text)
    return (DAYS.index(found[1]) * 24 + int(found[2])) * 60 + int(found[3]) if found else None


def _check(window: FreezeWindow, where: str) -> None:
    start, end = _weekly(window.start), _weekly(window.end)
    if (start is None) != (end is None):
        raise PROJECT.wrong(where, "must have two times of the week, or two moments")
    if start is not None:
        if start == end:
            raise PROJECT.wrong(where, "begins when it ends; for a freeze without an end use `enclii freeze`")
        return
    zone = ZoneInfo(window.zone)
    try:
        ordered = _moment(window.start, zone) < _moment(window.end, zone)
    except (ValueError, OverflowError):
        raise PROJECT.wrong(where, "must have times such as 2026-12-20, 2026-12-20T18:00 or fri 16:00") from None
    if not ordered:
        raise PROJECT.wrong(where, "ends before it begins")


def _text(value: object, where: str) -> str:
    """A time as text; YAML gives an unquoted date as a date."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if not isinstance(value, str) or not value or len(value) > 60:
        raise PROJECT.wrong(where, "must be a time such as 2026-12-20, 2026-12-20T18:00 or fri 16:00")
    return value.strip().lower() if _WEEKLY.fullmatch(value.strip().lower()) else value.strip()


def _zone(value: object, where: str) -> str:
    try:
        return ZoneInfo(str(value)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PROJECT.wrong(where, "must be a time zone such as Europe/Berlin") from None
