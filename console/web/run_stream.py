"""What an open page of a run listens to: its build's log, read once for all who look, and that something moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from sse_starlette import ServerSentEvent

from console.fanout import Fanout, Place, Shared, Source, Wire, ended


class RunStream(Shared):
    """A log's lines from a place on; between them and after them the events of ``moves``, which never end.

    ``growing`` says whether the log may still grow: when it broke off, or became larger than is kept, the stream ends
    as well, and the browser comes back with the last id that it has.
    """

    def __init__(
        self, fanout: Fanout, key: str, source: Source, last: Place, stopping: asyncio.Event, limit: float, *,
        moves: AsyncIterator[ServerSentEvent], growing: Callable[[], bool],
    ) -> None:  # fmt: skip
        super().__init__(fanout, key, source, last, stopping, limit)
        self._moves, self._growing = moves, growing

    async def carry(self, wire: Wire) -> None:
        telling = asyncio.create_task(self._tell(wire))
        wire.until(telling)
        try:
            await super().carry(wire)
            while not (wire.over or self._growing()):
                wire.waker.clear()
                await wire.waker.wait()
        finally:
            await ended(telling)

    async def _tell(self, wire: Wire) -> None:
        async for event in self._moves:
            await wire.write(event.encode())
