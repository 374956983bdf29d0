"""A program to talk with: what is typed goes in as it comes, what it prints comes out as it comes.

Without a terminal its three streams are pipes; with one they are a pseudo-terminal of its own, whose size may change.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from pipeline import process

CHUNK = 32 << 10
END_OF_TYPING = b"\x04"

Terminal = tuple[int, int]
"""Rows and columns."""


class Talk:
    """One running program. ``read`` may be called for each of its ``streams`` at the same time."""

    def __init__(self, child: asyncio.subprocess.Process, typed: int, printed: Mapping[str, int]) -> None:
        self._child = child
        self._typed = typed
        self._printed = printed
        self._terminal = typed in printed.values()
        self._ended = False
        for end in {typed, *printed.values()}:
            os.set_blocking(end, False)

    @property
    def streams(self) -> tuple[str, ...]:
        """``stdout`` and ``stderr``; a terminal has ``stdout`` alone."""
        return tuple(self._printed)

    async def write(self, data: bytes) -> None:
        """Hand over all of it; a program that reads no more is no error."""
        left = memoryview(data)
        while left and not self._ended:
            try:
                left = left[os.write(self._typed, left) :]
            except BlockingIOError:
                await _until(self._typed, writing=True)
            except OSError:
                return

    async def end_typing(self) -> None:
        """Say that nothing more comes: by closing the pipe, on a terminal by its own sign."""
        if self._ended:
            return
        if self._terminal:
            await self.write(END_OF_TYPING)
        else:
            os.close(self._typed)
        self._ended = True

    async def read(self, stream: str) -> bytes:
        """What comes next; nothing when the program has closed the stream."""
        while True:
            try:
                return os.read(self._printed[stream], CHUNK)
            except BlockingIOError:
                await _until(self._printed[stream], writing=False)
            except OSError:  # a terminal whose other end is closed
                return b""

    def resize(self, size: Terminal) -> None:
        """Give the terminal another size, and tell the program."""
        if self._terminal and self._child.returncode is None:
            _set_size(self._typed, size)
            self.signal(signal.SIGWINCH)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended hears nothing."""
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(number)

    async def wait(self) -> int:
        """The exit code, once the program has ended."""
        return await self._child.wait()

    def close(self) -> None:
        """Close every end; may be called again."""
        ends = set(self._printed.values()) | (set() if self._ended else {self._typed})
        self._printed, self._ended = {}, True
        for end in ends:
            os.close(end)


@contextlib.asynccontextmanager
async def talk(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, terminal: Terminal | None = None, grace: float = 2.0
) -> AsyncIterator[Talk]:
    """Start a program to talk with; at the end it is ended with its group. Raises CommandFailed when it can't start."""
    typed, printed, theirs = _pipes() if terminal is None else _pseudo_terminal(terminal)
    streams = process.Streams(theirs[0], theirs[1], theirs[2])
    talking: Talk | None = None
    try:
        async with process.started(argv, cwd=None, env=env, streams=streams, grace=grace) as child:
            _close(theirs)
            talking = Talk(child, typed, printed)
            try:
                yield talking
            finally:
                talking.close()  # a terminal that is hung up ends most programs by itself
    finally:
        if talking is None:
            _close((*theirs, typed, *printed.values()))


def _close(ends: Sequence[int]) -> None:
    for end in set(ends):
        os.close(end)


def _pipes() -> tuple[int, dict[str, int], tuple[int, int, int]]:
    (stdin, typed), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
    return typed, {"stdout": out, "stderr": err}, (stdin, stdout, stderr)


def _pseudo_terminal(size: Terminal) -> tuple[int, dict[str, int], tuple[int, int, int]]:
    ours, theirs = os.openpty()
    _set_size(ours, size)
    return ours, {"stdout": ours}, (theirs, theirs, theirs)


def _set_size(end: int, size: Terminal) -> None:
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


async def _until(end: int, *, writing: bool) -> None:
    """Return once the descriptor can be written to or read from."""
    loop = asyncio.get_running_loop()
    able = loop.create_future()

    def tell() -> None:
        if not able.done():
            able.set_result(None)

    watch: Callable[..., None] = loop.add_writer if writing else loop.add_reader
    forget: Callable[[int], bool] = loop.remove_writer if writing else loop.remove_reader
    watch(end, tell)
    try:
        await able
    finally:
        forget(end)
