"""Words and figures as people read them: spans of time, short ids, versions, and text that cannot drive a terminal."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def moment(text: str) -> datetime.datetime | None:
    """The time that an RFC 3339 text names; None when it names none."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def seconds_between(earlier: str, later: datetime.datetime) -> float | None:
    """Seconds from an RFC 3339 time to ``later``; never negative, since two clocks may disagree a little."""
    start = moment(earlier)
    return max(0.0, (later - start).total_seconds()) if start else None


def span(seconds: float) -> str:
    """``42s``, ``5m3s``, ``2h13m``, ``4d1h``: at most two units."""
    whole = int(seconds)
    for unit, size, lower, below in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size}{unit}" + (f"{rest}{lower}" if rest else "")
    return f"{whole}s"


def age(since: str, now: datetime.datetime) -> str:
    """How long ago; ``-`` when that is not known."""
    found = seconds_between(since, now)
    return "-" if found is None else span(found)


def version(release: str) -> str:
    """``v41`` of ``shop.web.v41``."""
    return release.rpartition(".")[2]


def short(digest_or_commit: str) -> str:
    """The part of a digest or commit id that people compare."""
    return digest_or_commit.rpartition("@")[2].removeprefix("sha256:")[:12]


def printable(text: str) -> str:
    """Text whose control characters are shown instead of obeyed; tabs stay."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\n", "\\n"))


def failure(found: Mapping[str, Any]) -> list[str]:
    """The reason and message of what failed; a build's last lines each on a line of its own, indented."""
    first, *rest = (found.get("message") or "").splitlines() or [""]
    head = ": ".join(part for part in (found.get("reason", ""), first) if part)
    return [head, *(f"    {line}" for line in rest)] if head else []


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean web?`` or the names there are, or nothing."""
    names = sorted(set(known))
    near = difflib.get_close_matches(wrong, names, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there is: {', '.join(names[:10])}" if names else ""
