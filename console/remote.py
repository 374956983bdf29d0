"""A command that runs elsewhere, joined to this process's stdin, stdout and stderr.

One thread sends what is typed, in numbered pieces that may be repeated; this one writes what comes back. With a
terminal every key goes there unread, the interrupt too; without one an interrupt ends the command.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from console.client import FAILED, Client, Failure, path

PIECE: Final = 16 << 10
TRIES: Final = 5
AGAIN: Final = frozenset({"input_full", "no_answer", "api_away", "nats_away"})


def size_here() -> dict[str, int]:
    """This terminal's size."""
    found = shutil.get_terminal_size()
    return {"rows": found.lines, "columns": found.columns}


def attach(api: Client, session: str, *, terminal: bool) -> int:
    """Carry both ways until the command has exited; its exit code. Raises Failure."""
    sending = _Sending(api, session, terminal=terminal)
    with _raw(terminal), sending.resized(), _ended_when_left(api, session):
        threading.Thread(target=sending.run, daemon=True).start()  # its last read of stdin may never return
        for event in api.events(path("exec", session, "output")):
            for one in event.data["printed"]:
                _write(one["stream"], base64.b64decode(one["data"]))
            if event.data["reason"]:
                raise Failure(event.data["message"], reason=event.data["reason"])
            if event.data["code"] is not None:
                return int(event.data["code"])
    return FAILED


class _Sending:
    """What is typed here, and the terminal's size when it changes."""

    def __init__(self, api: Client, session: str, *, terminal: bool) -> None:
        self._api = api
        self._address = path("exec", session, "input")
        self._terminal = terminal
        self._number = 0
        self._wake, self._woken = os.pipe()

    @contextlib.contextmanager
    def resized(self) -> Iterator[None]:
        """Hear of the terminal's changes meanwhile."""
        if not self._terminal or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGWINCH, lambda *_: os.write(self._woken, b"w") and None)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)

    def run(self) -> None:
        """Send until the input ends, or the command does."""
        with contextlib.suppress(Failure):  # that the command is over is told by its output
            while True:
                able, _, _ = select.select([0, self._wake], [], [])
                if self._wake in able:
                    os.read(self._wake, 64)
                    self._send(terminal=size_here())
                if 0 in able:
                    data = os.read(0, PIECE)
                    if not data:
                        self._send(ended=True)
                        return
                    self._send(data=base64.b64encode(data).decode())

    def _send(self, **piece: Any) -> None:
        """A command that does not read makes this wait, and with it whoever writes to our stdin."""
        self._number += 1
        lost = 0
        while True:
            try:
                self._api.post(self._address, {"number": self._number, **piece})
            except Failure as failure:
                if failure.reason not in AGAIN:
                    raise
                lost += failure.reason != "input_full"
                if lost > TRIES:
                    raise
                time.sleep(0.2)  # the far side tells nobody when it has room again, or is back
            else:
                return


@contextlib.contextmanager
def _ended_when_left(api: Client, session: str) -> Iterator[None]:
    """A command that nobody listens to any more must not go on."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Failure):
            api.post(path("exec", session, "end"))
        raise


@contextlib.contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """Every key as it is typed; this terminal's own settings are back afterwards, however it ends."""
    if not (terminal and sys.stdin.isatty()):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead counts
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _write(stream: str, data: bytes) -> None:
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.buffer.write(data)
    out.buffer.flush()
