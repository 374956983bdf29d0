"""The program as a person starts it: in a pseudo-terminal of its own, or with pipes, as a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ENCLII = (sys.executable, "-m", "console.cli")
ROOT = Path(__file__).parents[2]
LIMIT = 90.0


@dataclass
class Shown:
    """How a program ended, and all that its terminal (or its stdout) was given."""

    code: int
    text: str
    err: str = ""


Step = tuple[str, Callable[[], bytes]]
"""Once this was shown, do that, and type what it returns."""


def in_terminal(*arguments: str, env: Mapping[str, str], cwd: Path, steps: Sequence[Step] = ()) -> Shown:
    """Run ``enclii`` in a terminal, and take one step after the other, each as soon as its text was shown."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    with subprocess.Popen(
        # A session of its own that the terminal controls, so that typing Ctrl-C is an interrupt.
        ("setsid", "--ctty", *ENCLII, *arguments), stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=_env(env),
    ) as running:  # fmt: skip
        os.close(slave)
        try:
            text = _read(master, list(steps))
            return Shown(running.wait(LIMIT), text)
        finally:
            os.close(master)
            running.kill()


def in_pipe(*arguments: str, env: Mapping[str, str], cwd: Path, typed: bytes = b"") -> Shown:
    """Run ``enclii`` with pipes."""
    done = subprocess.run(
        [*ENCLII, *arguments], cwd=cwd, env=_env(env), input=typed, capture_output=True, timeout=LIMIT, check=False
    )
    return Shown(done.returncode, done.stdout.decode(), done.stderr.decode())


def _read(master: int, steps: list[Step]) -> str:
    shown, deadline = b"", time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        able, _, _ = select.select([master], [], [], 0.1)
        if able:
            piece = b""
            with contextlib.suppress(OSError):  # how Linux says that the other end is gone
                piece = os.read(master, 65536)
            if not piece:
                return shown.decode("utf-8", "replace")
            shown += piece
            if steps and steps[0][0] in shown.decode("utf-8", "replace"):
                os.write(master, steps.pop(0)[1]())
    raise AssertionError(f"still running after {LIMIT:g} s: {shown!r}")


def _env(more: Mapping[str, str]) -> dict[str, str]:
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    return {**base, **more}
