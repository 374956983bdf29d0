"""The door's control surface, a plain ASGI callable: what is routed where, and whether an upstream may be stopped.

Read-only. It is meant for a port or socket that only the machine's own controllers reach.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from gitops.door.routes import RouteTable
from gitops.door.waiting import drained

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LONGEST_WAIT = 600.0


class BadQuestion(ValueError):
    """A query parameter is missing or no number."""


class Control:
    """``GET /routes`` and ``GET /drained?host=H&address=A&seq=N&timeout=S``."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            return
        status, answer = await self._answer(scope)
        await _send_json(send, status, answer)

    async def _answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, {"error": "only GET"}
        if scope["path"] == "/routes":
            return 200, routes_view(self._table)
        if scope["path"] == "/drained":
            return await self._drained(scope["query_string"].decode("latin-1"))
        return 404, {"error": "no such page"}

    async def _drained(self, query: str) -> tuple[int, dict[str, Any]]:
        try:
            host, address, seq, timeout = drained_question(query)
        except BadQuestion as problem:
            return 400, {"error": str(problem)}
        return 200, {"drained": await drained(self._table, host, address, seq=seq, timeout=timeout)}


def routes_view(table: RouteTable) -> dict[str, Any]:
    """Host → sequence number, upstreams, and requests in flight per address."""
    return {
        host: {
            "seq": table.seq(host),
            "upstreams": list(table.upstreams(host)),
            "in_flight": table.in_flight_by_address(host),
        }
        for host in table.hosts()
    }


def drained_question(query: str) -> tuple[str, str, int, float]:
    """Host, address, sequence number and timeout of a query string; BadQuestion names what is wrong."""
    fields = {name: values[-1] for name, values in parse_qs(query).items()}
    host, address = fields.get("host", ""), fields.get("address", "")
    if not host or not address:
        raise BadQuestion("host and address are needed")
    try:
        seq, timeout = int(fields.get("seq", "0")), float(fields.get("timeout", "0"))
    except ValueError:
        raise BadQuestion("seq and timeout are numbers") from None
    if not math.isfinite(timeout):
        raise BadQuestion("timeout is a number of seconds")
    return host, address, seq, min(max(timeout, 0.0), LONGEST_WAIT)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send_json(send: Send, status: int, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
