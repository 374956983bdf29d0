"""The syncer's side of the front door: write a route, and wait until nothing is in flight to the old addresses."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from gitops.clusters import ServiceRef
from pipeline.records import Route
from pipeline.store import Change, Step, Store

MAIN = "production"


def host_of(ref: ServiceRef, base: str = "localhost") -> str:
    """``web.shop.localhost``; environments other than production stand in the middle."""
    middle = "" if ref.environment == MAIN else f"{ref.environment}."
    return f"{ref.service}.{middle}{ref.project}.{base}"


class Front:
    """Routes as records; the door watches them. ``door_ops`` is the door's loopback port for questions."""

    def __init__(self, store: Store, *, door_url: str, door_ops: int) -> None:
        self._store = store
        parts = urlsplit(door_url)
        self._base = parts.hostname or "localhost"
        self._port = parts.port or 80
        self._door_ops = door_ops

    def address(self, ref: ServiceRef) -> str:
        """Where people reach the service."""
        return f"http://{host_of(ref, self._base)}:{self._port}"

    async def point(self, ref: ServiceRef, upstreams: Sequence[str], *, drain: float = 10.0) -> None:
        """Send the service's name to ``upstreams`` and return once the old ones have nothing in flight."""
        host = host_of(ref, self._base)
        old = await self._store.get(Route, host)
        if old is not None and old.record.upstreams == tuple(upstreams):
            return
        await self._store.commit(Step((Change(Route(host=host, upstreams=tuple(upstreams)), old.seq if old else 0),)))
        written = await self._store.get(Route, host)
        gone = set(old.record.upstreams if old else ()) - set(upstreams)
        waiting = (self._drained(host, one, written.seq if written else 0, drain) for one in sorted(gone))
        await asyncio.gather(*waiting)

    async def _drained(self, host: str, address: str, seq: int, limit: float) -> None:
        """A door that is away serves nothing, so nothing can be in flight: there is nothing to wait for then."""
        query = f"host={quote(host)}&address={quote(address)}&seq={seq}&timeout={limit:g}"
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(limit + 2):
                await _get(self._door_ops, f"/drained?{query}")


async def _get(port: int, target: str) -> dict[str, object]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        answer = await reader.read(65_536)
    finally:
        writer.close()
    found: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found
