"""What all connections of one door share: routes, pool, limits, counters, and the list of what is open.

Deadlines are plain numbers on the connections; one sweep per second looks for those that have passed, which is cheaper
than a timer per request.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from gitops.door.hits import WAKING, Hits
from gitops.door.limits import Limits
from gitops.door.pool import Pool
from gitops.door.routes import RouteTable

SWEEP_EVERY = 1.0

NOINDEX = b"X-Robots-Tag: noindex, nofollow\r\n"


class Expiring(Protocol):
    """Something open that ends by itself when nothing moves."""

    deadline: float

    def expire(self) -> None:
        """The deadline has passed."""

    def finish_soon(self) -> None:
        """The door closes: end now if idle, after the current work otherwise."""

    def abort(self) -> None:
        """The door's patience is over."""


class DoorState:
    """Owned by the Door, read by its connections."""

    def __init__(
        self, table: RouteTable, *, hold: float, limits: Limits, scheme: bytes, hits: Hits | None = None
    ) -> None:
        self.table = table
        self._hits = hits
        self.hold = hold
        self.limits = limits
        self.scheme = scheme
        self.loop = asyncio.get_running_loop()
        self.pool = Pool(table, limits=limits)
        self.open: set[Expiring] = set()
        self.closing = False
        self.emptied = asyncio.Event()
        self.counters: dict[str, dict[str, int]] = {}

    def add(self, connection: Expiring) -> None:
        self.open.add(connection)

    def discard(self, connection: Expiring) -> None:
        self.open.discard(connection)
        if not self.open:
            self.emptied.set()

    def count_request(self, host: str) -> None:
        self._counters_of(host)["requests"] += 1
        if self._hits is not None:
            self._hits.heard(host, answers=bool(self.table.upstreams(host)))

    def marks(self, host: str) -> bytes:
        """Header lines that answers of ``host`` get: no search engine lists a preview."""
        return NOINDEX if self._hits is not None and host in self._hits.hosts else b""

    def patience(self, host: str) -> float:
        """How long a request waits for somebody to answer; one for a preview that sleeps, until that is awake."""
        asleep = self._hits is not None and host in self._hits.hosts and not self.table.upstreams(host)
        return WAKING if asleep else self.hold

    def count_failure(self, host: str) -> None:
        self._counters_of(host)["failures"] += 1

    def _counters_of(self, host: str) -> dict[str, int]:
        counters = self.counters.get(host)
        if counters is None:
            counters = self.counters[host] = {"requests": 0, "failures": 0}
        return counters

    async def sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.sweep()

    def sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(self.open):
            if connection.deadline < now:
                connection.expire()
        self.pool.sweep(now)
