"""A build's log as messages of one subject: what is live and what is stored are the same read.

Each message holds a few lines of JSON (``t`` time, ``s`` stream, ``l`` text); ``{"end": true}`` closes the log.
A lost log line never fails a build.
"""

from __future__ import annotations

import contextlib
import json

from pipeline.bus import Bus
from pipeline.errors import EncliiError
from pipeline.names import token
from pipeline.store import now

LINE_LIMIT = 16_384


def subject(run: str, service: str) -> str:
    """Where the log of one service's build in one run is kept."""
    return f"log.build.{token(run, service)}"


class LogStream:
    """Writes one build's log."""

    def __init__(self, bus: Bus, run: str, service: str) -> None:
        self._bus = bus
        self._subject = subject(run, service)

    async def sink(self, stream: str, line: bytes) -> None:
        """Take one line of a program's output (the shape of process.Sink)."""
        await self.line(stream, line[:LINE_LIMIT].decode("utf-8", "replace"))

    async def line(self, stream: str, text: str) -> None:
        """Take one line of ours."""
        await self._write({"t": now(), "s": stream, "l": text})

    async def end(self) -> None:
        """Close the log."""
        await self._write({"end": True})

    async def _write(self, message: dict[str, object]) -> None:
        with contextlib.suppress(EncliiError):
            await self._bus.append(self._subject, json.dumps(message).encode())
