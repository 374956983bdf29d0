"""Requests to previews, told to whoever looks after these: now and then while one runs, at once when it sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from pipeline.errors import EncliiError

log = logging.getLogger(__name__)

EVERY = 60.0
"""Seconds between two words about a preview that runs."""
AGAIN = 2.0
"""Seconds between two words about one that does not answer yet."""
WAKING = 60.0
"""How long a request waits for a preview that sleeps."""

Tell = Callable[[str], Awaitable[object]]


class Hits:
    """The host names of previews, and when each was last told of; what could not be told is told with the next one."""

    def __init__(self, tell: Tell, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.hosts: set[str] = set()
        self._tell = tell
        self._clock = clock
        self._told: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, host: str, *, answers: bool) -> None:
        """A request came for ``host``, of which something ``answers`` or nothing yet."""
        if host not in self.hosts:
            return
        now = self._clock()
        if now - self._told.get(host, -EVERY) < (EVERY if answers else AGAIN):
            return
        self._told[host] = now
        task = asyncio.get_running_loop().create_task(self._say(host))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, host: str) -> None:
        try:
            await self._tell(host)
        except EncliiError as error:
            self._told.pop(host, None)
            log.debug("a request to %s could not be told: %s", host, error)

    async def close(self) -> None:
        """Leave nothing running."""
        for task in tuple(self._tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
