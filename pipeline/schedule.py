"""When something is to be done again and again: never, at a time of the day, or at intervals."""

from __future__ import annotations

import datetime
import re

from pipeline import parsing

OFF = "off"
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def schedule(given: str) -> str:
    """Schedule: off, a time of the day in UTC or an interval."""
    if given != OFF and not _CLOCK.fullmatch(given):
        try:
            parsing.duration(given)
        except ValueError:
            raise ValueError("off, a time of the day such as 03:30 (UTC), or an interval such as 6h") from None
    return given


def until_next(given: str, now: datetime.datetime) -> float | None:
    """Seconds from ``now`` (with its zone) to the next time; None: never."""
    if given == OFF:
        return None
    clock = _CLOCK.fullmatch(given)
    if clock is None:
        return parsing.duration(given)
    today = now.astimezone(datetime.UTC).replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
    following = today if today > now else today + datetime.timedelta(days=1)
    return (following - now).total_seconds()
