"""The door's routes as the store has them: read whole first, then followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from gitops.door.hits import Hits
from gitops.door.routes import RouteTable
from pipeline.bus import Bus
from pipeline.errors import EncliiError, Unavailable
from pipeline.records import Route

log = logging.getLogger(__name__)

ROUTES: Final = "st.route.*"
AGAIN: Final = 0.5
"""Seconds until a first read that failed is tried again."""


async def follow(bus: Bus, table: RouteTable, hits: Hits) -> None:
    """Keep ``table`` and the names of previews as they are stored, for ever; the first read makes it whole."""
    after = await _first(bus, table, hits)
    table.completed()
    async with bus.watch(ROUTES, after=after) as messages:
        async for message in messages:
            _take(table, hits, message.data, message.seq)


async def _first(bus: Bus, table: RouteTable, hits: Hits) -> int:
    """Take in what is stored; the sequence number behind which the rest comes."""
    while True:
        try:
            entries = await bus.scan(ROUTES)
        except EncliiError as error:
            log.warning("the routes are not read yet: %s", error)
            await asyncio.sleep(AGAIN)
            continue
        for entry in entries:
            _take(table, hits, entry.data, entry.seq)
        return max((entry.seq for entry in entries), default=0)


def _take(table: RouteTable, hits: Hits, data: bytes, seq: int) -> None:
    route = msgspec.json.decode(data, type=Route)
    (hits.hosts.add if route.preview and not route.gone else hits.hosts.discard)(route.host)
    if route.gone:
        table.remove(route.host, seq)
    else:
        table.set(route.host, route.upstreams, seq)


def whole(table: RouteTable) -> Callable[[], Awaitable[None]]:
    """The check of readiness that fails until the first read is done."""

    async def check() -> None:
        if not table.whole:
            raise Unavailable("the routes are not read yet: unknown names are answered with 503", reason="starting")

    return check
