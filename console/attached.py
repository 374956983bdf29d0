"""Everything in the foreground, for development: one process ends, all end, as honcho has it.

What honcho leaves running when its terminal is closed is ended here.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from honcho.manager import Manager  # type: ignore[import-untyped]

from console.supervise import Program


def run(programs: Sequence[Program], *, env: Mapping[str, str], cwd: Path) -> int:
    """Run all until one ends or a signal comes; the exit code is that of the first that ended."""
    manager = Manager()
    for program in programs:
        command = shlex.join(("setpriv", "--pdeathsig", "TERM", "--", *program.argv))
        manager.add_process(program.name, f"exec {command}", env={**env, **program.env}, cwd=str(cwd))
    signal.signal(signal.SIGHUP, _end)
    manager.loop()
    return int(manager.returncode or 0)


def _end(_: int, __: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
