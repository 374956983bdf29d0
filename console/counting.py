"""Counts the answers by who asked and the status's class: what people see of errors is measured where they ask."""

from __future__ import annotations

from typing import Final

from starlette.types import Message, Scope, Send

from pipeline import measures

CLI: Final = b"enclii"
BROWSER: Final = b"Mozilla/"
CLIENTS: Final = ("cli", "browser", "other")
CODES: Final = ("2xx", "3xx", "4xx", "5xx")


def expect() -> None:
    """Say in ``/metrics`` what is counted, before the first answer."""
    for client in CLIENTS:
        for code in CODES:
            measures.REQUESTS.expect(client, code)


def counted(scope: Scope, send: Send) -> Send:
    """``send``, which counts the answer when it begins."""
    if scope["type"] != "http":
        return send
    client = _client(scope)

    async def counting(message: Message) -> None:
        if message["type"] == "http.response.start":
            measures.REQUESTS.add(client, f"{message['status'] // 100}xx")
        await send(message)

    return counting


def _client(scope: Scope) -> str:
    agent: bytes = next((value for key, value in scope["headers"] if key == b"user-agent"), b"")
    return "cli" if agent.startswith(CLI) else "browser" if agent.startswith(BROWSER) else "other"
