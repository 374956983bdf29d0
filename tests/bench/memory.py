"""``memory.idle``: the proportional set size of all Enclii processes of an installation that nobody uses.

A page that several processes share counts once, in equal parts. The stores and the supervisor, which are not Enclii's
own programs, are told beside.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path

from console import platform, programs
from pipeline.errors import Unavailable
from pipeline.settings import PROCESSES
from tests.bench.figures import Bound, Family, Figure
from tests.support.components import SEARCH_PATH, needs

SAMPLES = 5
PAUSE = 1.0
READY = 60.0
IDLE = Bound("memory.idle", "MB", 300)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Start everything as ``enclii up -d`` does, and look at it while nothing happens."""
    needs("nats-server", "docker-registry", "podman", "buildah", "git", "syft")
    home = folder / "home"
    try:
        platform.up(home, environ={**os.environ, "PATH": SEARCH_PATH})
        if waiting := platform.not_ready(home, limit=READY):
            raise Unavailable(f"not ready: {', '.join(waiting)}", reason="not_ready")
        samples = [sampled(home) for _sample in range(SAMPLES)]
        wanted = programs.needed(home)
    finally:
        platform.down(home, purge=True)
    each = {name: statistics.median(sample.get(name, 0) for sample in samples) for name in samples[0]}
    own = {name: size for name, size in each.items() if name in PROCESSES}
    if missing := sorted({*wanted} - {*own}):
        raise Unavailable(f"did not run throughout: {', '.join(missing)}", reason="not_running")
    beside = {name: size for name, size in each.items() if name not in PROCESSES}
    detail = {"processes": own, "beside": beside}
    return [Figure(IDLE, sum(own.values()), SAMPLES, detail)]


def sampled(home: Path) -> dict[str, float]:
    """Megabytes of each running program, with what it started."""
    time.sleep(PAUSE)  # samples apart in time: what is idle has nothing to await
    running = {one.name: one.pid for one in platform.status(home) if one.running}
    children = family_tree()
    supervisor = parent(next(iter(running.values())))
    sizes = {name: megabytes(pid, children) for name, pid in running.items()}
    return {**sizes, "supervisor": proportional(supervisor)}


def megabytes(pid: int, children: dict[int, list[int]]) -> float:
    """One program with its descendants."""
    below = sum(megabytes(child, children) for child in children.get(pid, ()))
    return round(proportional(pid) + below, 1)


def proportional(pid: int) -> float:
    """The proportional set size in MB, as the kernel sums it."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return round(int(found[1]) * 1024 / 1e6, 1)


def family_tree() -> dict[int, list[int]]:
    """The children of each process of this machine."""
    found: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                found.setdefault(parent(int(directory.name)), []).append(int(directory.name))
            except OSError:
                continue
    return found


def parent(pid: int) -> int:
    """The process that started this one; a program's name may hold anything, so counted from its last bracket."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


FAMILY = Family((IDLE,), measure)
