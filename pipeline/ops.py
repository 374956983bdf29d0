"""Each process's loopback port: ``/healthz`` (alive), ``/readyz`` (its stores answer), ``/metrics`` (Prometheus)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from pipeline.exposition import exposition
from pipeline.measures import Gauge, Source

Check = Callable[[], Awaitable[None]]
"""Raises when the process can't do its work; the text is shown."""

Route = Callable[[str], Awaitable[tuple[int, bytes]]]
"""A process's own loopback answer: the query string in, status and JSON out."""

HEAD_LIMIT = 8_192
CHECK_LIMIT = 3.0


@contextlib.asynccontextmanager
async def ops_server(
    port: int,
    checks: Mapping[str, Check],
    routes: Mapping[str, Route] | None = None,
    gauges: Sequence[Source] = (),
    *,
    host: str = "127.0.0.1",
) -> AsyncIterator[int]:
    """Serve on ``host``:``port`` (0: the system's choice) and yield the port. ``gauges`` are read for /metrics."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode("ascii", "replace") if head.count(b" ") >= 2 else "/"
            path, _, query = target.partition("?")
            if path == "/metrics":
                status, (kind, body) = 200, await _metrics(head, checks, gauges)
            else:
                status, kind, body = await _answer(path, query, checks, routes or {})
            writer.write(_head(status, kind, len(body)) + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port, limit=HEAD_LIMIT)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _head(status: int, kind: str, length: int) -> bytes:
    phrase = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}.get(status, "OK")
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode()


async def _answer(
    path: str, query: str, checks: Mapping[str, Check], routes: Mapping[str, Route]
) -> tuple[int, str, bytes]:
    if path in routes:
        status, body = await routes[path](query)
        return status, "application/json", body
    if path == "/healthz":
        return 200, "application/json", b'{"status":"ok"}\n'
    if path == "/readyz":
        failing = await _failing(checks)
        return (503 if failing else 200), "application/json", json.dumps({"failing": failing}).encode() + b"\n"
    return 404, "text/plain", b"not found\n"


async def _metrics(head: bytes, checks: Mapping[str, Check], gauges: Sequence[Source]) -> tuple[str, bytes]:
    """What was measured, with whether each check of readiness holds."""

    async def ready() -> Sequence[Gauge]:
        failing = await _failing(checks)
        values: dict[tuple[str, ...], float] = {(name,): 0.0 if name in failing else 1.0 for name in checks}
        return [Gauge("enclii_ready", "Whether what the process needs answers; 1: yes", ("check",), values)]

    accepted = next((line for line in head.decode("latin-1").split("\r\n") if line.lower().startswith("accept:")), "")
    return await exposition(accepted, [ready, *gauges])


async def _failing(checks: Mapping[str, Check]) -> dict[str, str]:
    found = {}
    for name, check in tuple(checks.items()):  # a process that starts adds some meanwhile, and takes some away
        try:
            async with asyncio.timeout(CHECK_LIMIT):
                await check()
        except Exception as error:  # readiness reports whatever stands in the way
            found[name] = str(error) or type(error).__name__
    return found
