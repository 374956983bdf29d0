"""A service's lines as Server-Sent Events: which ones are wanted, and where a reader that came back goes on.

Lines of several replicas are merged as they come, so a line may be older than the one before it. An id therefore says
of each replica how far it was read: ``TIME-COUNT``, the newest line's time in nanoseconds, then for each replica that
printed within the last seconds ``.NAME-BEHIND-COUNT``: a hash of its name, how much older its newest line is, and how
many of its lines have exactly that time.
"""

from __future__ import annotations

import datetime
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sse_starlette import ServerSentEvent

from console.streams import NANO, Logs, event
from gitops.clusters import LogLine, ServiceRef
from pipeline.errors import Invalid, NotFound

WINDOW: Final = 3 * NANO
"""How much later than its neighbours a line may be merged without being lost to a reader that comes back."""
LONGEST: Final = 8192
Dead = Callable[[], list[dict[str, str]]]
_ID: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,9})((?:\.[0-9a-f]{1,8}-[0-9]{1,20}-[0-9]{1,9})*)")


@dataclass(frozen=True)
class Choice:
    """Which lines: the last ``tail`` of those between two times, of one release (``v41``) or of all."""

    tail: int
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    release: str = ""

    @property
    def narrow(self) -> bool:
        """Whether the last lines of a cluster are not the last of these."""
        return bool(self.until or self.release)

    def has(self, line: LogLine) -> bool:
        if self.until and line.time > self.until.timestamp() * NANO:
            return False
        return not self.release or line.release.removeprefix("v") == self.release.removeprefix("v")


@dataclass
class Seen:
    """How far each replica was read: the time of its newest line, and how many lines have that time."""

    _at: dict[str, tuple[int, int]] = field(default_factory=dict)
    _newest: int = 0

    @classmethod
    def parse(cls, text: str) -> Seen:
        """Read what an id says. Raises Invalid."""
        found = _ID.fullmatch(text or "0-0") if len(text) <= LONGEST else None
        if found is None:
            raise Invalid("Last-Event-ID is not one that was given out", reason="bad_event_id")
        newest = int(found[1])
        parts = (one.split("-") for one in found[3].split(".") if one)
        return cls({name: (newest - int(behind), int(count)) for name, behind, count in parts}, newest)

    @property
    def newest(self) -> int:
        """The time of the newest line, in nanoseconds; 0 when none was read."""
        return self._newest

    @property
    def since(self) -> datetime.datetime | None:
        """From when lines have to be read again; None for all."""
        return datetime.datetime.fromtimestamp((self._newest - WINDOW) // NANO, datetime.UTC) if self._newest else None

    def take(self, line: LogLine) -> str:
        """The line's id, now that it was read."""
        name = _hashed(line.replica)
        time, count = self._at.get(name, (0, 0))
        if line.time >= time:
            self._at[name] = (line.time, count + 1 if line.time == time else 1)
        self._newest = max(self._newest, line.time)
        self._at = {one: at for one, at in self._at.items() if at[0] > self._newest - WINDOW}
        entries = (f".{one}-{self._newest - at}-{counted}" for one, (at, counted) in sorted(self._at.items()))
        return f"{self._newest}-0{''.join(entries)}"[:LONGEST]


class Behind:
    """Passes the lines that an id does not cover."""

    def __init__(self, seen: Seen) -> None:
        self._old = not seen.newest
        self._floor = seen.newest - WINDOW
        self._left = dict(seen._at)
        self._skip = {name: count for name, (_, count) in seen._at.items()}

    def passes(self, line: LogLine) -> bool:
        name = _hashed(line.replica)
        if self._old or name not in self._left:
            return self._old or line.time > self._floor
        time = self._left[name][0]
        if line.time == time and self._skip[name] > 0:
            self._skip[name] -= 1
            return False
        return line.time >= time


def _hashed(name: str) -> str:
    return f"{zlib.crc32(name.encode()):x}"


def service_lines(
    logs: Logs, ref: ServiceRef, choice: Choice, last_id: str, *, dead: Dead | None = None
) -> AsyncIterator[ServerSentEvent]:
    """The lines behind ``last_id`` that there are now. Where nothing printed one, ``dead`` has the last of what died.

    Raises Invalid at once.
    """
    return lines_behind(logs, ref, choice, Seen.parse(last_id), dead)


async def lines_behind(
    logs: Logs, ref: ServiceRef, choice: Choice, seen: Seen, dead: Dead | None = None
) -> AsyncIterator[ServerSentEvent]:
    """As ``service_lines``; ``seen`` is told what was read."""
    resumed, behind, none = seen.since, Behind(seen), True
    tail = None if resumed or choice.narrow else choice.tail
    last: deque[LogLine] = deque(maxlen=choice.tail)
    async for line in logs.logs(ref, tail=tail, since=resumed or choice.since, follow=False):
        if not (choice.has(line) and behind.passes(line)):
            continue
        none = False
        if choice.narrow:
            last.append(line)
        else:
            yield event("line", shown(line), seen.take(line))
    for line in last:
        yield event("line", shown(line), seen.take(line))
    if none and dead is not None and not resumed:
        for one in kept(dead, choice):
            yield event("line", one)
    yield event("end", {})


def kept(dead: Dead, choice: Choice) -> list[dict[str, str]]:
    """The last lines of what died, as many as were asked for."""
    try:
        found = dead()
    except NotFound:
        return []
    return found[-choice.tail :] if choice.tail else []


def shown(line: LogLine) -> dict[str, Any]:
    """What a reader sees of a line."""
    moment = datetime.datetime.fromtimestamp(line.time / NANO, datetime.UTC)
    return {
        "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "replica": line.replica,
        "release": line.release,
        "stream": line.stream,
        "text": line.text.decode("utf-8", "replace"),
    }
