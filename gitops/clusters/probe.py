"""Asks a replica whether it is well: one HTTP GET, or one connection, within a deadline.

Two hundred lines of HTTP client are not needed to read one status line.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """``well``, and what was seen, in words."""

    well: bool
    seen: str


async def ask(address: str, path: str | None, *, deadline: float = 2.0) -> Answer:
    """GET ``path`` at ``host:port`` and accept 200 to 399; without a path an open port is enough."""
    host, _, port = address.rpartition(":")
    what = f"GET {path}" if path else f"port {port}"
    try:
        async with asyncio.timeout(deadline):
            return await _ask(host, int(port), path)
    except TimeoutError:
        return Answer(False, f"{what} did not answer within {deadline:g} s")
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return Answer(False, f"{what} is not answered")


async def _ask(host: str, port: int, path: str | None) -> Answer:
    reader, writer = await asyncio.open_connection(host, port, limit=65_536)
    try:
        if path is None:
            return await _still_open(reader, port)
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: enclii\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        status = int((await reader.readuntil(b"\n")).split()[1])
        return Answer(200 <= status < 400, f"GET {path} answered {status}")
    except IndexError:
        return Answer(False, f"GET {path} was not answered with HTTP")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _still_open(reader: asyncio.StreamReader, port: int) -> Answer:
    """A rootless port forwarder accepts before it knows that nobody listens inside, and then closes."""
    try:
        async with asyncio.timeout(0.2):
            closed = await reader.read(1) == b""
    except TimeoutError:
        closed = False
    return Answer(not closed, f"port {port} is {'closed again at once' if closed else 'open'}")
