"""A control group around strangers' code: what may be used of memory, processors and processes, and how it all ends.

The limits lie on a parent of the group in which the code runs: as root inside its container it can write the files of
its own group (seen with version 1), but its parent it cannot even name. Works with version 1, hybrid and version 2.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import Unavailable

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000
CONTROLLERS = ("memory", "cpu", "pids")
END_LIMIT = 10.0
Version = Literal["v1", "v2", "none"]


def version(root: Path = ROOT) -> Version:
    """Which version can bound a build here; ``none`` where this process may not make groups."""
    if (root / "cgroup.controllers").exists():
        return "v2" if os.access(root / "cgroup.subtree_control", os.W_OK) else "none"
    return "v1" if all(os.access(root / name, os.W_OK) for name in CONTROLLERS) else "none"


@dataclass(frozen=True)
class Cage:
    """One named group, to be made before and removed after each build; ``inside`` is where the build's own goes."""

    name: str
    version: Version
    root: Path = ROOT

    @property
    def inside(self) -> str:
        return f"/{self.name}/build"

    def create(self, *, memory: int, cpus: float, pids: int) -> None:
        """Make the group and write its limits. Raises Unavailable when the kernel refuses one of them."""
        quota = str(max(1000, int(cpus * PERIOD)))
        try:
            if self.version == "v1":
                self._write("memory", "memory.limit_in_bytes", str(memory))
                self._write("cpu", "cpu.cfs_period_us", str(PERIOD))
                self._write("cpu", "cpu.cfs_quota_us", quota)
                self._write("pids", "pids.max", str(pids))
            elif self.version == "v2":
                (self.root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS))
                self._write("", "memory.max", str(memory))
                self._write("", "cpu.max", f"{quota} {PERIOD}")
                self._write("", "pids.max", str(pids))
                with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
                    self._write("", "memory.swap.max", "0")
        except OSError as error:
            raise Unavailable(f"cannot bound the build: {error}", reason="cgroup_unavailable") from error

    def hit_memory_limit(self) -> bool:
        """True if something inside asked for more memory than there was."""
        if self.version == "v1":
            return int(self._read("memory", "memory.failcnt") or 0) > 0
        events = dict(line.split() for line in self._read("", "memory.events").splitlines())
        return int(events.get("oom_kill", 0)) > 0

    async def kill(self) -> None:
        """End all that runs inside, also what forks faster than it can be killed. Raises Unavailable if some stays."""
        with contextlib.suppress(OSError):
            self._write("pids" if self.version == "v1" else "", "pids.max", "0", create=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_LIMIT):
                while pids := set(self.pids()):
                    for pid in pids:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    await asyncio.sleep(0.02)
        if left := set(self.pids()):
            raise Unavailable(f"processes of a build would not end: {sorted(left)[:10]}", reason="build_left_processes")

    def remove(self) -> None:
        """Remove the group from every hierarchy; groups that still hold processes stay."""
        for top in self._tops():
            for directory in [*sorted(top.glob("**/"), reverse=True), top]:
                with contextlib.suppress(OSError):
                    directory.rmdir()

    def _tops(self) -> list[Path]:
        return [path for path in (self.root / self.name, *self.root.glob(f"*/{self.name}")) if path.is_dir()]

    def pids(self) -> Iterator[int]:
        """Every process inside, in each hierarchy: one may come more than once."""
        for top in self._tops():
            for folder, _, _ in os.walk(top):  # passes over groups that vanish meanwhile
                with contextlib.suppress(OSError):
                    yield from (int(word) for word in Path(folder, "cgroup.procs").read_text().split())

    def _write(self, controller: str, file: str, text: str, *, create: bool = True) -> None:
        directory = self.root / controller / self.name
        if create:
            directory.mkdir(exist_ok=True)
        (directory / file).write_text(text)

    def _read(self, controller: str, file: str) -> str:
        with contextlib.suppress(OSError):
            return (self.root / controller / self.name / file).read_text()
        return ""
