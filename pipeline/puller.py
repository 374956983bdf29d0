"""Messages as they are delivered, and the puller that neither stalls nor loses.

nats-py's ``fetch(n)`` can hold a ready message until its timeout; here overlapping pulls share one inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from pipeline.absent import absent
from pipeline.cancelling import not_lost
from pipeline.entries import NANO

with absent("aiohttp"):  # nats-py takes it along for websockets, which are not spoken here: 8 MB a process
    import nats.errors
    from nats.aio.client import Client
    from nats.aio.msg import Msg

REQUEST_LIMIT = 2.5
HEARTBEAT = 1.0
Asked = Callable[[], Awaitable[bool]] | None


class Message:
    """A delivered message; exactly one of ``ack``, ``retry`` ends it, ``working`` keeps it from coming again."""

    def __init__(self, client: Client, raw: Msg) -> None:
        parts = (raw.reply or "").split(".")
        self.subject = raw.subject
        self.data = raw.data
        self.headers: Mapping[str, str] = raw.headers or {}
        # $JS.ACK.….<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>: counted from the end, as some
        # servers put a domain and an account in front.
        tail = parts[-5:]
        self.deliveries, self.seq = int(tail[0]), int(tail[1])
        self.at, self.pending = int(tail[3]) / NANO, int(tail[4])  # when it was stored (Unix time), what waits behind
        self._client = client
        self._reply = raw.reply

    async def ack(self) -> None:
        """Say that it is done, and wait until the server has heard it."""
        with contextlib.suppress(nats.errors.Error, TimeoutError):  # unheard: it comes again and its state says done
            await not_lost(self._client.request(self._reply, b"+ACK", timeout=REQUEST_LIMIT))

    async def retry(self, delay: float) -> None:
        """Ask for it again after ``delay`` seconds."""
        await self._client.publish(self._reply, b"-NAK " + json.dumps({"delay": int(delay * NANO)}).encode())

    async def working(self) -> None:
        """Say that work goes on; the acknowledgement wait begins anew."""
        await self._client.publish(self._reply, b"+WPI")


class ReaderGone(Exception):
    """The server has no such consumer any more."""


class Puller:
    """Overlapping pulls on one inbox, renewed at half a batch, on an ended pull and after two missed heartbeats."""

    def __init__(self, client: Client, subject: str, inbox: str, batch: int) -> None:
        self._client = client
        self._subject = subject
        self._inbox = inbox
        self._batch = batch
        self._outstanding = 0

    async def messages(self, subscription: Any, *, durable: bool, over: Asked = None) -> AsyncIterator[Message]:
        await self._pull()
        silent = 0
        while True:
            try:
                raw = await not_lost(subscription.next_msg(timeout=2 * HEARTBEAT + 0.25))
            except (nats.errors.TimeoutError, TimeoutError):
                silent += 1
                if not durable and silent > 2:
                    raise ReaderGone from None
                self._outstanding = 0
                await self._pull()
                continue
            silent = 0
            status = (raw.headers or {}).get("Status", "") if not raw.data else ""
            if status == "100" and over is not None and await over():
                return
            if status:
                await self._heard(status, raw.headers or {}, durable=durable)
                continue
            self._outstanding -= 1
            if self._outstanding <= self._batch // 2:
                await self._pull()
            yield Message(self._client, raw)

    async def _heard(self, status: str, headers: Mapping[str, str], *, durable: bool) -> None:
        if status == "100":
            return
        if status in {"404", "408", "409"}:
            if not durable and "Consumer Deleted" in headers.get("Description", ""):
                raise ReaderGone
            self._outstanding -= int(headers.get("Nats-Pending-Messages", self._batch))
            if self._outstanding <= 0:
                await self._pull()
        elif status == "503":
            await asyncio.sleep(HEARTBEAT)
            if not durable:  # a server that was killed comes back without the readers that it kept in memory
                raise ReaderGone
            self._outstanding = 0
            await self._pull()

    async def _pull(self) -> None:
        wanted = self._batch - max(self._outstanding, 0)
        if wanted <= 0 or not self._client.is_connected:
            return
        request = {"batch": wanted, "expires": 30 * NANO, "idle_heartbeat": int(HEARTBEAT * NANO)}
        with contextlib.suppress(nats.errors.Error):
            await self._client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)
            self._outstanding = max(self._outstanding, 0) + wanted
