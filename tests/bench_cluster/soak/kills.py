"""The killer: KILL or TERM to one process of the installation every twenty seconds, now and then to a store."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from typing import Any, Final

from console import platform, programs
from console.installation import Addresses
from pipeline.errors import Unavailable
from tests.bench_cluster.soak.pace import paced

EVERY: Final = 20.0
STORES: Final = ("nats", "registry")
A_STORE: Final = 8
"""Every so many kills it is a store, one and the other in turn."""


class Killer:
    """Sends signals to processes that the supervisor says are this installation's, and keeps the count."""

    def __init__(self, at: Addresses, chance: random.Random) -> None:
        self._at = at
        self._chance = chance
        self._sent: Counter[str] = Counter()
        self._processes = programs.needed(at.home)
        self._next: list[str] = []

    def thread(self, seconds: float, ended: threading.Event) -> threading.Thread:
        """What kills while the time lasts; the first and the last interval are without a death."""
        count = int(seconds / EVERY)
        return paced(range(1, count), count, seconds, ended, self._kill)

    def _kill(self, number: int) -> None:
        try:
            running = {one.name: one for one in platform.status(self._at.home) if one.running}
        except Unavailable:
            self._sent["the supervisor did not answer"] += 1
            return
        name, how = self._victim(number), self._chance.choice((signal.SIGKILL, signal.SIGTERM))
        if name in running:
            os.kill(running[name].pid, how)
        self._sent[f"{name} {how.name}" if name in running else f"{name} was not up"] += 1

    def _victim(self, number: int) -> str:
        """In a new order each time round, so that all die about as often."""
        if number % A_STORE == A_STORE // 2:
            return STORES[number // A_STORE % 2]
        self._next = self._next or self._chance.sample(self._processes, len(self._processes))
        return self._next.pop()

    def told(self) -> dict[str, Any]:
        """How often each got what."""
        return dict(sorted(self._sent.items()))
