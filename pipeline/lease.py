"""Who of several processes of a kind works: one holds a lease, the others wait for it.

A lease is a message that its holder writes anew all the time, by compare-and-set. Who waits takes it over when it did
not change for as long as it lasts, by its own clock: no clocks are compared. The holder asks a clock that no pause
stops before each thing that it writes: whoever was stopped for longer writes nothing until it could renew the lease,
which fails when another took it; then it ends. What was already on its way meets the last fence, the old head that a
push expects and the sequence that a record expects.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pipeline.bus import Bus, Write
from pipeline.errors import Conflict, EncliiError, Unavailable
from pipeline.names import token

if TYPE_CHECKING:
    from pipeline.main import Process

log = logging.getLogger(__name__)

PAUSE: Final = 0.25
MARGIN: Final = 0.1
"""Of a lease's time, by which its holder takes it for over before others may."""


def boot_time() -> float:
    """Seconds that go on while the process is stopped, and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Lease:
    """One lease of ``seconds``, at ``subject``; ``holder`` is this process alone."""

    bus: Bus
    subject: str
    seconds: float
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    clock: Callable[[], float] = boot_time
    _until: float = 0.0
    _seq: int = 0
    _seen: tuple[int, float] = (0, 0.0)

    def check(self) -> None:
        """Raises Unavailable once the lease may be another's."""
        if self.clock() >= self._until:
            raise Unavailable("the lease is over: another process may work by now", reason="lease_lost", delay=1.0)

    async def take(self) -> bool:
        """Try to hold it; False while another does. Raises Unavailable."""
        found = await self.bus.get(self.subject)
        if found is None or found.data in (b"", self.holder.encode()):
            return await self._put(found.seq if found else 0)
        if self._seen[0] != found.seq:
            self._seen = found.seq, self.clock()
        return self.clock() - self._seen[1] >= self.seconds and await self._put(found.seq)

    async def renew(self) -> bool:
        """Hold it for longer; False when it is lost. Raises Unavailable."""
        return await self._put(self._seq)

    async def release(self) -> None:
        """Let another begin at once."""
        self._until = 0.0
        with contextlib.suppress(EncliiError):
            await self.bus.commit(Write(self.subject, b"", self._seq))

    async def _put(self, expect: int) -> bool:
        begun = self.clock()
        try:
            self._seq = await self.bus.commit(Write(self.subject, self.holder.encode(), expect))
        except Conflict:
            return False
        self._until = begun + self.seconds * (1 - MARGIN)
        return True

    async def lead(self, work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
        """Wait for the lease, then work until it is done; what is in hand may end after ``stopping`` is set.

        Raises Unavailable when the lease is lost: the process is to end and to begin anew, as nothing that it has in
        hand may be finished.
        """
        if not await self._taken(stopping):
            return
        log.info("leading as %s", self.subject)
        working, renewing = asyncio.ensure_future(work()), asyncio.create_task(self._kept())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Unavailable("the lease was lost: another process works now", reason="lease_lost")
            working.result()
            await self.release()
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)

    async def _taken(self, stopping: asyncio.Event) -> bool:
        while not stopping.is_set():
            with contextlib.suppress(EncliiError):
                if await self.take():
                    return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await stopping.wait()
        return False

    async def _kept(self) -> None:
        """Return when another holds it. While the event store is away nobody can take it, and nothing is written."""
        while True:
            await asyncio.sleep(self.seconds / 3)
            try:
                if not await self.renew():
                    return
            except Unavailable as error:
                log.warning("the lease is not renewed: %s", error)


def led(body: Callable[[Process], Awaitable[None]]) -> Callable[[Process], Awaitable[None]]:
    """The process's work, done only while it holds the lease of its kind for the config branch, where there is one."""

    async def leading(process: Process) -> None:
        told = process.settings
        if not told.lease:
            await body(process)
            return
        subject = f"lease.{process.name}.{token(told.config_url, told.config_branch)}"
        lease = Lease(process.store.bus, subject, told.lease)
        process.store = replace(process.store, guard=lease.check)
        await lease.lead(functools.partial(body, process), process.stopping)

    return leading
