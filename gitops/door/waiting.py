"""Waiting for the route table: until a condition holds, or a deadline passes.

Every wait is woken by the table itself, so nothing polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gitops.door.routes import RouteTable


async def until(table: RouteTable, condition: Callable[[], bool], *, timeout: float) -> bool:  # noqa: ASYNC109
    """Whether ``condition`` came true within ``timeout`` seconds; it is asked again after each change of the table."""
    changed = asyncio.Event()
    table.subscribe(changed.set)
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                changed.clear()
                await changed.wait()
        return True
    except TimeoutError:
        return condition()
    finally:
        table.unsubscribe(changed.set)


async def drained(table: RouteTable, host: str, address: str, *, seq: int = 0, timeout: float) -> bool:  # noqa: ASYNC109
    """Whether the table reached ``seq`` for the host and the address has nothing in flight, tunnels included."""

    def quiet() -> bool:
        return table.seq(host) >= seq and table.in_flight(host, address) == 0

    return await until(table, quiet, timeout=timeout)
