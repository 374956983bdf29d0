"""Idle connections to upstreams, ready for the next request.

A connection is kept only while some route names its address, and not for long: servers close idle connections too, and
a request must not meet that moment.
"""

from __future__ import annotations

import asyncio

from gitops.door.limits import Limits
from gitops.door.routes import RouteTable, split_address
from gitops.door.upstream import UpstreamConnection


class Pool:
    """Last in, first out, by address; a change of the route table closes what nobody needs any more."""

    def __init__(self, table: RouteTable, *, limits: Limits) -> None:
        self._table = table
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._idle: dict[str, list[UpstreamConnection]] = {}
        self._version = table.version
        self._wanted = table.addresses()
        self._closed = False
        table.subscribe(self._routes_changed)

    def take(self, address: str, *, repeatable: bool) -> UpstreamConnection | None:
        """A connection that is idle for so short that the upstream surely still listens; None if there is none."""
        idle = self._idle.get(address)
        limit = self._limits.pooled if repeatable else self._limits.pooled_unsafe
        while idle:
            connection = idle.pop()
            if self._loop.time() - connection.idle_since > limit:
                idle.append(connection)
                return None
            if not connection.transport.is_closing():
                return connection
        return None

    async def connect(self, address: str) -> UpstreamConnection:
        """A fresh connection; OSError or TimeoutError when the upstream does not accept one."""
        host, port = split_address(address)
        async with asyncio.timeout(self._limits.connect):
            _, connection = await self._loop.create_connection(
                lambda: UpstreamConnection(address, limits=self._limits, lost=self._forget), host, port
            )
        return connection

    def put(self, connection: UpstreamConnection) -> None:
        if self._closed or connection.address not in self._wanted:
            connection.transport.close()
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.address, []).append(connection)

    def sweep(self, now: float) -> None:
        """Close what was idle for too long."""
        for idle in self._idle.values():
            for connection in tuple(idle):
                if now - connection.idle_since > self._limits.pooled:
                    connection.transport.close()

    def close(self) -> None:
        self._closed = True
        self._table.unsubscribe(self._routes_changed)
        for address in tuple(self._idle):
            self._close_address(address)

    def idle(self, address: str) -> int:
        """How many connections to the address wait for work."""
        return len(self._idle.get(address, ()))

    def _forget(self, connection: UpstreamConnection) -> None:
        idle = self._idle.get(connection.address)
        if idle and connection in idle:
            idle.remove(connection)

    def _routes_changed(self) -> None:
        if self._version == self._table.version:
            return
        self._version = self._table.version
        self._wanted = self._table.addresses()
        for address in [address for address in self._idle if address not in self._wanted]:
            self._close_address(address)

    def _close_address(self, address: str) -> None:
        for connection in self._idle.pop(address):
            connection.transport.close()
