"""A build's log as messages of one subject: what is live and what is stored are the same read.

Each message holds a few lines of JSON (``t`` time, ``s`` stream, ``l`` text, ``p`` step when there is one); ``{"end":
true}`` closes the log. Lines that come together travel together; the first of them waits for ``GATHER`` seconds at
most. A lost log line never fails a build, and a writer that is faster than the store waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping

from pipeline.build_log import LogLine
from pipeline.bus import Bus
from pipeline.errors import EncliiError
from pipeline.names import token
from pipeline.store import now

LINE_LIMIT = 16_384
GATHER = 0.05
MESSAGE_LIMIT = 64 << 10


def subject(run: str, service: str) -> str:
    """Where the log of one service's build in one run is kept."""
    return f"log.build.{token(run, service)}"


async def stored(bus: Bus) -> frozenset[str]:
    """The subjects of the logs that are kept; the first 100,000 of them. Raises Unavailable."""
    answer = await bus.asked("STREAM.INFO.LOGS", {"subjects_filter": "log.build.>"})
    return frozenset(answer["state"].get("subjects") or ())


async def delete(bus: Bus, log: str) -> None:
    """Delete one log, by its subject. Raises Unavailable."""
    await bus.asked("STREAM.PURGE.LOGS", {"filter": log})


class LogStream:
    """Writes one build's log; ``end`` or ``flush`` writes what still waits."""

    def __init__(self, bus: Bus, run: str, service: str) -> None:
        self._bus = bus
        self._subject = subject(run, service)
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._turn = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    async def sink(self, line: LogLine) -> None:
        """Take one line of a program's output (the shape of build_log.LineSink)."""
        entry = {"t": line.at or now(), "s": line.stream, "l": line.text[:LINE_LIMIT].decode("utf-8", "replace")}
        await self._take(entry | ({"p": line.step} if line.step else {}))

    async def line(self, stream: str, text: str) -> None:
        """Take one line of ours."""
        await self._take({"t": now(), "s": stream, "l": text})

    async def end(self) -> None:
        """Close the log."""
        await self._take({"end": True})
        await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        async with self._turn:
            lines, self._waiting, self._bytes = self._waiting, [], 0
            if lines:
                with contextlib.suppress(EncliiError):
                    await self._bus.append(self._subject, b"\n".join(lines))

    async def _take(self, entry: Mapping[str, object]) -> None:
        data = json.dumps(entry, ensure_ascii=False).encode()
        self._waiting.append(data)
        self._bytes += len(data) + 1
        if self._bytes >= MESSAGE_LIMIT:
            await self.flush()
        elif self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(GATHER)
        await self.flush()
