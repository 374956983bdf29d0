"""What is kept of a build's output: all of it while it is short, else its beginning and its end, never a secret.

A build may print without end; what a person needs is how it began and how it ended, and how much is missing between.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipeline.masking import Masker
from pipeline.process import LINE_LIMIT as PIECE

LINE_LIMIT = 8 << 10
SHOWN_LINES = 30
LINE_COST = 128
"""Bytes of memory that a held line takes beside its text."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a build. ``step`` is what printed it, ``at`` when (RFC 3339); both may be empty."""

    stream: str
    text: bytes
    step: str = ""
    at: str = ""


LineSink = Callable[[LogLine], Awaitable[None]]


class BoundedLog:
    """Passes lines on to ``sink`` until ``head`` bytes, then holds back the last ``tail`` bytes until ``close``."""

    def __init__(self, sink: LineSink, *, head: int, tail: int, masker: Masker | None = None) -> None:
        self._sink = sink
        self._masker = masker or Masker()
        self._head = head
        self._tail = tail
        self._held: deque[LogLine] = deque()
        self._held_bytes = 0
        self._last: deque[bytes] = deque(maxlen=SHOWN_LINES)
        self._moved = time.monotonic()
        self.last_error_line = ""
        self.dropped = 0

    async def write(self, stream: str, line: bytes, *, step: str = "", at: str = "") -> None:
        """Take one line, or a full piece of one that is longer; what is too long is cut, and the cut is counted."""
        self.touch()
        text = self._masker.mask(line, more=len(line) >= PIECE, of=f"{stream}/{step}")
        self.dropped += max(0, len(text) - LINE_LIMIT)
        kept = LogLine(stream, text[:LINE_LIMIT], step, at)
        self._last.append(kept.text)
        if stream == "stderr":
            self.last_error_line = kept.text.decode("utf-8", "replace").strip() or self.last_error_line
        if self._head >= 0:
            self._head -= len(kept.text) + 1
            await self._sink(kept)
        else:
            self._hold(kept)

    def masked(self, text: str) -> str:
        """A whole text, such as a step's name, without the secrets."""
        return self._masker.text(text)

    def touch(self) -> None:
        """Note that the build moves, though it prints nothing."""
        self._moved = time.monotonic()

    async def idle(self, seconds: float) -> None:
        """Return once the build has not moved for so long."""
        while (left := seconds - (time.monotonic() - self._moved)) > 0:  # noqa: ASYNC110 - the deadline moves
            await asyncio.sleep(max(left, 0.05))

    def _hold(self, line: LogLine) -> None:
        self._held.append(line)
        self._held_bytes += len(line.text) + LINE_COST
        while self._held_bytes > self._tail:
            lost = self._held.popleft()
            self._held_bytes -= len(lost.text) + LINE_COST
            self.dropped += len(lost.text) + 1

    async def close(self) -> None:
        """Pass on what was held back, with a line before it that says how many bytes are missing."""
        if self.dropped:
            await self._sink(LogLine("stderr", f"[{self.dropped} bytes of output left out]".encode()))
        while self._held:
            await self._sink(self._held.popleft())

    def tail(self) -> str:
        """The last lines, for an error's text."""
        return b"\n".join(self._last).decode("utf-8", "replace")
