"""An answer that goes on for hours ends when who reads it may no longer: looked at again every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from pipeline.access import Principal
from pipeline.errors import EncliiError, Refused

AGAIN: Final = "enclii.again"
"""In a request's scope: asks once more whose its credential is; None when it counts no longer."""
RECHECK: Final = 15.0
Check = Callable[[], Awaitable[None]]
"""Returns while the reader may read. Raises Refused when not, any other error of ours when nobody can say now."""


async def principal_now(request: Request) -> Principal:
    """Who sent the request, as the credential counts now. Raises Refused, Unavailable."""
    again: Callable[[], Awaitable[Principal | None]] = request.scope[AGAIN]
    found = await again()
    if found is None:
        raise Refused("the login or token that asked for this has ended", reason="login_ended")
    return found


class Revocable(Response):
    """Sends ``inner`` until its end, or until ``check`` refuses; then the last event says why."""

    def __init__(self, inner: Response, check: Check, *, every: float = RECHECK) -> None:
        self._inner = inner
        self._check = check
        self._every = every
        self.status_code = inner.status_code
        self.raw_headers = inner.raw_headers
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        open_ = True

        async def noted(message: Message) -> None:
            nonlocal open_
            open_ = open_ and (message["type"] != "http.response.body" or message.get("more_body", False))
            await send(message)

        sending = asyncio.ensure_future(self._inner(scope, receive, noted))
        watching = asyncio.ensure_future(self._refused())
        try:
            await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
                return
            await _ended(sending)
            if open_:
                await send({"type": "http.response.body", "body": _told(watching.result())})
        finally:
            await _ended(sending)
            await _ended(watching)

    async def _refused(self) -> Refused:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self._check()
            except Refused as error:
                return error
            except EncliiError:
                continue  # nobody can say now: what was allowed goes on


async def _ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _told(error: Refused) -> bytes:
    data = json.dumps({"detail": error.message, "reason_code": error.reason})
    return f"event: problem\r\ndata: {data}\r\n\r\n".encode()
