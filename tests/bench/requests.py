"""``deploy.failed_requests``: GETs that fail at 200 a second while a service is deployed and rolled back.

Half of the requests open a connection of their own, half reuse one. Failed is every GET that is not answered within
five seconds with 200 and a page that was deployed; nothing is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Bound, Family, Figure
from tests.bench.story import HOST, told

ROUNDS = 5
RATE = 200
KEPT = 10
LIMIT = 5.0
FAILED = Bound("deploy.failed_requests", "count", 0)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Ten deployments and five rollbacks under load."""
    with told(folder) as story, loaded(story.line.ports["door"]) as load:
        for _round in range(ROUNDS):
            before = story.version
            story.deployed()
            story.rollback()
            story.until_runs(before)
            story.resume()
            story.deployed()
        load.stop()
    rate = round(load.sent / load.seconds, 1)
    detail = {"sent": load.sent, "per_second": rate, "failures": dict(load.failures), "deployments": 2 * ROUNDS}
    value = float(sum(load.failures.values())) if rate >= 0.95 * RATE else None
    why = {} if value is not None else {"unmeasured": f"only {rate} requests a second could be sent"}
    return [Figure(FAILED, value, load.sent, {**detail, "rollbacks": ROUNDS, **why})]


class Load:
    """Requests on a schedule, from a thread with a loop of its own."""

    def __init__(self, port: int, *, rate: float = RATE, limit: float = LIMIT) -> None:
        self.sent = 0
        self.seconds = 0.0
        self.failures: Counter[str] = Counter()
        self._port = port
        self._rate = rate
        self._limit = limit
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for the answers."""
        self._ended.set()
        self._thread.join()

    async def _run(self) -> None:
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for lane in range(KEPT):
                group.create_task(self._kept(lane))
            await self._scheduled(group, begun)
        self.seconds = time.monotonic() - begun

    async def _scheduled(self, group: asyncio.TaskGroup, begun: float) -> None:
        """Connections of their own: half of the rate, whatever the answers take."""
        number = 0
        while not self._ended.is_set():
            number += 1
            await asyncio.sleep(begun + number / (self._rate / 2) - time.monotonic())
            group.create_task(self._single())

    async def _single(self) -> None:
        with self._judged():
            async with asyncio.timeout(self._limit):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    await get(reader, writer)
                finally:
                    writer.close()

    async def _kept(self, lane: int) -> None:
        """One reused connection; it is opened anew when the last answer said that it closes, or after a failure."""
        open_: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        due = time.monotonic() + lane / self._rate
        while not self._ended.is_set():
            due += KEPT / (self._rate / 2)
            await asyncio.sleep(due - time.monotonic())
            kept = False
            with self._judged():
                async with asyncio.timeout(self._limit):
                    open_ = open_ or await asyncio.open_connection("127.0.0.1", self._port)
                    kept = await get(*open_)
            if not kept and open_ is not None:
                open_[1].close()
                open_ = None
        if open_ is not None:
            open_[1].close()

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        self.sent += 1
        try:
            yield
        except (OSError, ValueError, EOFError) as error:
            self.failures[f"{type(error).__name__}: {error}"[:80]] += 1


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One GET; True when the connection stays open. Raises ValueError for any other answer than a page's."""
    writer.write(f"GET /index.html HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if " 200 " not in head.split("\r\n")[0]:
        raise ValueError(head.split("\r\n")[0])
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    elif "chunked" in fields.get("transfer-encoding", ""):
        body = await chunks(reader)
    else:
        body = await reader.read()
    if not body.startswith(b"page "):
        raise ValueError(f"another page: {body[:20]!r}")
    return (
        "close" not in fields.get("connection", "") and len(fields.keys() & {"content-length", "transfer-encoding"}) > 0
    )


async def chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body without trailers."""
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


@contextlib.contextmanager
def loaded(port: int, *, rate: float = RATE, limit: float = LIMIT) -> Iterator[Load]:
    """Requests for as long as the body runs, or until it stops them."""
    load = Load(port, rate=rate, limit=limit)
    load.start()
    try:
        yield load
    finally:
        load.stop()


FAMILY = Family((FAILED,), measure)
