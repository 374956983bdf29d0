"""ETag and If-None-Match: who has an answer already is told so, and not the answer again.

The tag is a hash of the answer, so it changes when and only when the answer does. Streams pass untouched.
"""

from __future__ import annotations

import hashlib
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

TAGGED: Final = b"application/json"


class Conditional:
    """Puts a tag on each JSON answer to a GET, and answers 304 to who has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        known = b",".join(value for key, value in scope["headers"] if key == b"if-none-match")
        await self._app(scope, receive, _Tagging(send, known))


class _Tagging:
    """One answer on its way out: held until it is whole, when it is one that gets a tag."""

    def __init__(self, send: Send, known: bytes) -> None:
        self._send = send
        self._known = [one.strip().removeprefix(b"W/") for one in known.split(b",")]
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_tagged(message):
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        tag = b'"' + hashlib.blake2b(self._body, digest_size=12).hexdigest().encode() + b'"'
        headers = [*start["headers"], (b"etag", tag)]
        if not any(key == b"cache-control" for key, _ in headers):
            headers.append((b"cache-control", b"private, no-cache"))
        if tag in self._known or b"*" in self._known:
            kept = [(key, value) for key, value in headers if key not in (b"content-length", b"content-type")]
            await self._send({**start, "status": 304, "headers": kept})
            await self._send({"type": "http.response.body", "body": b""})
            return
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": bytes(self._body)})


def _is_tagged(start: Message) -> bool:
    kinds = [value for key, value in start["headers"] if key == b"content-type"]
    secret = any(key == b"cache-control" and b"no-store" in value for key, value in start["headers"])
    return start["status"] == 200 and kinds == [TAGGED] and not secret
