"""What the request at hand may look at: set once when its credential is known, and kept by every read below it.

The projection asks here, so a handler cannot show by mistake what its caller may not see. Work of the process itself,
which is no request, sees all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Final

Seen = Mapping[str, frozenset[str] | None]
"""Project → its environments that may be seen; None: all of it."""

NOTHING: Final[Seen] = {}
OPEN_KINDS: Final = ("builder", "config", "image")
"""Kinds of records that belong to no project and tell nothing of one to whoever cannot name it already."""
_now: ContextVar[Seen | None] = ContextVar("sight", default=None)


@contextlib.contextmanager
def limited(seen: Seen | None) -> Iterator[None]:
    """For the block, reads find only what may be seen; None: everything."""
    before = _now.set(seen)
    try:
        yield
    finally:
        _now.reset(before)


def limit(seen: Seen | None) -> None:
    """From now on in this task, and in what it starts."""
    _now.set(seen)


def sees(project: str, environment: str = "") -> bool:
    """Whether the request may look there; "" for the environment: at anything of the project."""
    seen = _now.get()
    if seen is None:
        return True
    if project not in seen:
        return False
    there = seen[project]
    return there is None or not environment or environment in there


def condition() -> tuple[str, list[str]]:
    """SQL over ``kind``, ``project`` and ``environment`` that keeps what may be seen, with its values."""
    seen = _now.get()
    if seen is None:
        return "", []
    kinds = ", ".join("?" * len(OPEN_KINDS))
    parts, values = [f"kind IN ({kinds})"], list(OPEN_KINDS)
    if whole := [project for project, there in seen.items() if there is None]:
        parts.append(f"project IN ({', '.join('?' * len(whole))})")
        values += whole
    for project, there in seen.items():
        if there is not None:
            marks = ", ".join("?" * (len(there) + 1))
            parts.append(f"(project = ? AND environment IN ({marks}))")
            values += [project, "", *sorted(there)]
    return f" AND ({' OR '.join(parts)})", values
