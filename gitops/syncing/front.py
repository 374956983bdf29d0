"""The syncer's side of the front door: write a route, and wait until nothing is in flight to the old addresses."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from gitops.clusters import ServiceRef, Wanted
from pipeline.previews import is_preview
from pipeline.records import Route
from pipeline.store import Change, Step, Store

MAIN = "production"


def host_of(wanted: Wanted, base: str = "localhost") -> str:
    """A preview's own name, as its manifests have it; any other service's after its place."""
    if is_preview(wanted.ref.environment):
        for document in wanted.documents:
            if (found := _named(document)) is not None:
                return found
    return plain_host(wanted.ref, base)


def _named(document: Mapping[str, Any]) -> str | None:
    """The host of an Ingress or HTTPRoute."""
    spec = document.get("spec") or {}
    hosts = {
        "Ingress": [rule.get("host") for rule in spec.get("rules") or () if isinstance(rule, dict)],
        "HTTPRoute": spec.get("hostnames") or [],
    }.get(str(document.get("kind")), [])
    return next((host for host in hosts if isinstance(host, str) and host), None)


def plain_host(ref: ServiceRef, base: str = "localhost") -> str:
    """``web.shop.localhost``; environments other than production stand in the middle."""
    middle = "" if ref.environment == MAIN else f"{ref.environment}."
    return f"{ref.service}.{middle}{ref.project}.{base}"


class Front:
    """Routes as records; the door watches them. ``door_ops`` is the door's loopback port for questions."""

    def __init__(self, store: Store, *, door_url: str, door_ops: int) -> None:
        self._store = store
        parts = urlsplit(door_url)
        self.base = parts.hostname or "localhost"
        self._port = parts.port or 80
        self._door_ops = door_ops

    def address(self, host: str) -> str:
        """Where people reach the service of that name."""
        return f"http://{host}:{self._port}"

    async def gone(self, ref: ServiceRef, address: str) -> None:
        """Nothing answers to the service's names any more; ``address`` is where it was last reached."""
        if is_preview(ref.environment) and (host := urlsplit(address).hostname):
            await self.point(host, (), gone=True, preview=True)
        else:
            await self.point(plain_host(ref, self.base), (), gone=True)

    async def point(
        self, host: str, upstreams: Sequence[str], *, drain: float = 10.0, gone: bool = False,
        preview: bool = False,
    ) -> None:  # fmt: skip
        """Send a name to ``upstreams`` and return once the old ones have nothing in flight."""
        old = await self._store.get(Route, host)
        route = Route(host=host, upstreams=tuple(upstreams), gone=gone, preview=preview)
        if old is not None and old.record == route:
            return
        await self._store.commit(Step((Change(route, old.seq if old else 0),)))
        written = await self._store.get(Route, host)
        left = set(old.record.upstreams if old else ()) - set(upstreams)
        waiting = (self._drained(host, one, written.seq if written else 0, drain) for one in sorted(left))
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
