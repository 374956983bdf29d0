"""The door itself: listens, hands every connection to its protocol, sweeps deadlines and closes with care.

Start it inside a running event loop; uvloop is what it was measured with.
"""

from __future__ import annotations

import asyncio
import contextlib

from gitops.door.connection import ClientConnection
from gitops.door.hits import Hits
from gitops.door.limits import Limits
from gitops.door.routes import RouteTable
from gitops.door.state import DoorState
from gitops.door.waiting import drained

BACKLOG = 1024


class Door:
    """A reverse proxy whose routes are a table that anybody may change at any moment."""

    def __init__(
        self, *, table: RouteTable, hold: float = 5.0, limits: Limits | None = None, scheme: str = "http",
        hits: Hits | None = None,
    ) -> None:  # fmt: skip
        self.table = table
        self._hold = hold
        self._limits = limits or Limits()
        self._scheme = scheme.encode()
        self._hits = hits
        self._state: DoorState | None = None
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def counters(self) -> dict[str, dict[str, int]]:
        """By host: requests, and failures (answers of 500 and above, and answers that were cut short)."""
        return self._state.counters if self._state else {}

    @property
    def connections(self) -> int:
        """Client connections and tunnels that are open now."""
        return len(self._state.open) if self._state else 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port that the system chose when 0 was asked for. OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        state = DoorState(self.table, hold=self._hold, limits=self._limits, scheme=self._scheme, hits=self._hits)
        try:
            server = await loop.create_server(
                lambda: ClientConnection(state), host, port, backlog=BACKLOG, reuse_address=True
            )
        except OSError:
            state.pool.close()
            raise
        self._state, self._server = state, server
        self._sweeper = loop.create_task(state.sweep_for_ever())
        return int(server.sockets[0].getsockname()[1])

    async def close(self, grace: float = 10.0) -> None:
        """Stop listening, let requests in flight finish for ``grace`` seconds, then end what is left; once."""
        state, server, self._server = self._state, self._server, None
        if state is None or server is None:
            return
        state.closing = True
        server.close()
        for connection in tuple(state.open):
            connection.finish_soon()
        await self._emptied(state, grace)
        for connection in tuple(state.open):
            connection.abort()
        await self._emptied(state, 1.0)
        state.pool.close()
        await self._stop_sweeping()
        if self._hits is not None:
            await self._hits.close()

    async def drained(self, host: str, address: str, timeout: float) -> bool:  # noqa: ASYNC109
        """Whether nothing is in flight at an upstream any more, tunnels included, within ``timeout`` seconds."""
        return await drained(self.table, host, address, timeout=timeout)

    async def _emptied(self, state: DoorState, limit: float) -> None:
        state.emptied.clear()
        if state.open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(state.emptied.wait(), limit)

    async def _stop_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
