"""What is kept of a build's output: all of it while it is short, else its beginning and its end.

A build may print without end; what a person needs is how it began and how it ended, and how much is missing between.
"""

from __future__ import annotations

from collections import deque

from pipeline.process import Sink

LINE_LIMIT = 8 << 10
SHOWN_LINES = 30


class BoundedLog:
    """Passes lines on to ``sink`` until ``head`` bytes, then holds back the last ``tail`` bytes until ``close``."""

    def __init__(self, sink: Sink, *, head: int, tail: int) -> None:
        self._sink = sink
        self._head = head
        self._tail = tail
        self._held: deque[tuple[str, bytes]] = deque()
        self._held_bytes = 0
        self._last: deque[bytes] = deque(maxlen=SHOWN_LINES)
        self.last_error_line = ""
        self.dropped = 0

    async def write(self, stream: str, line: bytes) -> None:
        """Take one line; longer ones are cut, and the cut is counted."""
        self.dropped += max(0, len(line) - LINE_LIMIT)
        line = line[:LINE_LIMIT]
        self._last.append(line)
        if stream == "stderr":
            self.last_error_line = line.decode("utf-8", "replace").strip() or self.last_error_line
        if self._head >= 0:
            self._head -= len(line) + 1
            await self._sink(stream, line)
        else:
            self._hold(stream, line)

    def _hold(self, stream: str, line: bytes) -> None:
        self._held.append((stream, line))
        self._held_bytes += len(line) + 1
        while self._held_bytes > self._tail:
            _, lost = self._held.popleft()
            self._held_bytes -= len(lost) + 1
            self.dropped += len(lost) + 1

    async def close(self) -> None:
        """Pass on what was held back, with a line before it that says how many bytes are missing."""
        if self.dropped:
            await self._sink("stderr", f"[{self.dropped} bytes of output left out]".encode())
        while self._held:
            await self._sink(*self._held.popleft())

    def tail(self) -> str:
        """The last lines, for an error's text."""
        return b"\n".join(self._last).decode("utf-8", "replace")
