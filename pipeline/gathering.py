"""Events that wait at the same time are written as one atomic batch, which the event store syncs as one.

A server that syncs before it acknowledges syncs each message alone, and a batch once. So whoever comes first is
written at once, what comes in the meantime gathers behind it and goes together: an idle store costs nobody a wait, a
busy one is shared. Nobody is answered before the batch that holds his event is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline import tracing
from pipeline.bus import Full, Write
from pipeline.errors import Conflict, EncliiError, Unavailable
from pipeline.events import Event
from pipeline.store import Store

MOST: Final = 256  # of a thousand that one batch may hold
BYTES: Final = 4 << 20
AT_ONCE: Final = 2  # while the store syncs one, the next is on its way


class _Waiting(NamedTuple):
    """A write, and who waits for its sequence."""

    write: Write
    known: asyncio.Future[int | None]


class Gathering:
    """Publishes events of one stream, each once; ``most`` share a batch, ``at_once`` batches are on their way."""

    def __init__(self, store: Store, *, most: int = MOST, at_once: int = AT_ONCE) -> None:
        self._store = store
        self._most, self._at_once = most, at_once
        self._waiting: deque[_Waiting] = deque()
        self._writing: set[asyncio.Task[None]] = set()

    async def publish(self, event: Event) -> int | None:
        """The sequence under which the event is on the disk; None when it was there before.

        Raises Unavailable: whether it is stored is not known then, and publishing it again does no harm.
        """
        one = _Waiting(self._store.write_of(event), asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if len(self._writing) < self._at_once:
            self._writing.add(asyncio.create_task(self._write()))
        sequence = await one.known
        if sequence is not None:
            tracing.published(event)
        return sequence

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._together(self._next())
        finally:  # at once and not by a callback: whoever comes in between would wait for a writer that has gone
            self._writing.discard(asyncio.current_task())

    def _next(self) -> list[_Waiting]:
        """What waits, oldest first, up to a batch's limits; of one subject only the first."""
        taken: dict[str, _Waiting] = {}
        left: list[_Waiting] = []
        size = 0
        while self._waiting and len(taken) < self._most and size < BYTES:
            one = self._waiting.popleft()
            if one.write.subject in taken:
                left.append(one)
                continue
            taken[one.write.subject] = one
            size += len(one.write.data)
        self._waiting.extendleft(reversed(left))
        return list(taken.values())

    async def _together(self, some: Sequence[_Waiting]) -> None:
        """One that is known, or a server that takes no batch, rejects the batch whole: then each goes alone."""
        try:
            last = await self._store.bus.commit(*(one.write for one in some))
        except EncliiError as error:
            if len(some) > 1 and _settled(error):
                await asyncio.gather(*(self._together([one]) for one in some))
            else:
                _fail(some, error)
        except BaseException as error:
            _fail(some, error)
            raise
        else:
            for place, one in enumerate(reversed(some)):
                _tell(one, last - place)


def _settled(error: EncliiError) -> bool:
    """Whether it is known that nothing of the batch was written, and one alone may fare better."""
    return isinstance(error, Conflict | Full) or (isinstance(error, Unavailable) and error.reason == "nats_refused")


def _fail(some: Sequence[_Waiting], error: BaseException) -> None:
    for one in some:
        if isinstance(error, Conflict):
            _tell(one, None)
        elif not one.known.done():
            one.known.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())


def _tell(one: _Waiting, sequence: int | None) -> None:
    if not one.known.done():  # who waited may have gone
        one.known.set_result(sequence)
