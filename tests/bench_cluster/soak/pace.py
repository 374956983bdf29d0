"""Work that is spread evenly over a time, in threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

LATE: Final = 1.5
"""So many times the planned time may pass; what is not begun then is left out."""


def paced(
    numbers: Iterable[int], of: int, seconds: float, ended: threading.Event, work: Callable[[int], None]
) -> threading.Thread:
    """A thread that does ``work(number)`` at its moment, the number-th part of ``seconds``, one after the other."""
    return threading.Thread(target=_run, args=(list(numbers), of, seconds, ended, work), daemon=True)


def _run(numbers: list[int], of: int, seconds: float, ended: threading.Event, work: Callable[[int], None]) -> None:
    begun = time.monotonic()
    for number in numbers:
        if ended.wait(max(0.0, begun + seconds * number / of - time.monotonic())):
            return
        if time.monotonic() - begun > seconds * LATE:
            return
        work(number)
