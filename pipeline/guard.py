"""What is asked before something is written, where another process may have become the one who writes."""

from __future__ import annotations

from collections.abc import Callable

Guard = Callable[[], None]
"""Raises Unavailable once another may be at work."""


def unguarded() -> None:
    """Where there is no other."""
