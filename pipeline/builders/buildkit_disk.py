"""The disk that a step of a BuildKit build may fill, for a daemon on this machine.

BuildKit bounds no disk and tells no size of a layer while it is written. Every step's processes lie in our control
group, and their mounts say where they write: the layer's own directory, and mounted caches. A step that has written
too much is killed there; its build then fails by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.cgroup import Cage
from pipeline.disk import INTERVAL, SHARE, usage

_NO_DISK = frozenset({"proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2"})


@dataclass
class StepDisk:
    """Watches all steps in ``cage``; ``ended`` says why one was killed, and is empty as long as none was.

    ``growth``: bytes that one step may write; ``keep_free``: bytes that stay free where it writes.
    """

    cage: Cage
    growth: int
    keep_free: int
    ended: str = ""
    _before: dict[tuple[int, Path], int] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Around a build."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            for step, pids in _steps(self.cage).items():
                if found := await asyncio.to_thread(self._too_much, step, pids[0]):
                    self.ended = found
                    for pid in pids:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(max(INTERVAL, SHARE * (time.monotonic() - began)))

    def _too_much(self, step: int, pid: int) -> str:
        """Why this step is to end, by what it has written since it was first seen."""
        grown = 0
        for place in _written_by(pid):
            now = usage(place)
            if now == 0:
                continue
            # A layer is empty when its step begins; a mounted cache may hold what earlier builds left.
            grown += now - self._before.setdefault((step, place), 0 if place.name == "fs" else now)
            with contextlib.suppress(OSError):
                if shutil.disk_usage(place).free < self.keep_free:
                    return f"less than {self.keep_free >> 20} MiB are free on the builder's disk"
        return f"a step wrote more than {self.growth >> 20} MiB" if grown > self.growth else ""


def _steps(cage: Cage) -> dict[int, list[int]]:
    """The processes of each step, by the mount namespace that they share."""
    found: dict[int, list[int]] = {}
    for pid in cage.pids():
        with contextlib.suppress(OSError):
            found.setdefault(Path(f"/proc/{pid}/ns/mnt").stat().st_ino, []).append(pid)
    return found


def _written_by(pid: int) -> Iterator[Path]:
    """The directories that a step writes to: its layer, as this machine sees it, and what else is mounted to write."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape").splitlines():
            mounted, _, source = line.partition(" - ")
            kind, _, options = source.split(" ", 2)
            point, mode = mounted.split()[4:6]
            if kind == "overlay" and (upper := _option(options, "upperdir=")):
                yield Path(upper)
            elif kind not in _NO_DISK and kind != "overlay" and "rw" in mode.split(","):
                yield Path(f"/proc/{pid}/root{point}")


def _option(options: str, name: str) -> str:
    found = next((one for one in options.rpartition(" ")[2].split(",") if one.startswith(name)), "")
    return found.removeprefix(name)
