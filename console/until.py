"""Waiting for what tells nobody that it has happened: a file, a port, a process that ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

POLL: Final = 0.05


def until(condition: Callable[[], bool], limit: float, *, every: float = POLL) -> bool:
    """Whether ``condition`` held within ``limit`` seconds, looked at ``every`` so many."""
    deadline = time.monotonic() + limit
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(every)  # there is nothing to wait on, see above
    return held
