"""What ``doctor`` finds out about this machine: programs, processes, ports, keys, disk, and what was left behind.

It looks at the state folder and asks no API, so it also tells why there is none.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from console import platform, ports, programs, residue
from console.client import START
from console.installation import addresses
from console.supervise import State
from gitops.clusters import Finding
from pipeline import process
from pipeline.errors import EncliiError

OLDEST: Final[Mapping[str, tuple[int, ...]]] = {
    "git": (2, 36),
    "podman": (4, 0),
    "buildah": (1, 28),
    "nats-server": (2, 12),
    "docker-registry": (2, 8),
    "syft": (1, 0),
}
PACKAGES: Final[Mapping[str, str]] = {"nats-server": "make up installs it", "syft": "make up installs it"}
VERSION_LIMIT: Final = 15.0
LOW_DISK: Final = 5 << 30
NO_DISK: Final = 1 << 30


async def machine(home: Path, *, search: str) -> tuple[Finding, ...]:
    """Everything that can be learned here without an API; ``search`` is the caller's PATH."""
    places = os.pathsep.join((str(Path(sys.executable).parent), search, process.SEARCH_PATH))
    found = await asyncio.gather(*(check_program(name, places=places) for name in OLDEST))
    local = (check_keys(home), check_disk(home), check_ports(home), check_processes(home))
    return (*found, *(finding for some in local for finding in some), *await check_residue(home))


async def check_program(name: str, *, places: str) -> Finding:
    """Whether the program is in one of ``places`` and new enough."""
    fix = PACKAGES.get(name, f"apt-get install {name}")
    path = shutil.which(name, path=places)
    if path is None:
        return Finding("error", name, "is not installed", fix)
    try:
        done = await process.run((path, "--version"), timeout=VERSION_LIMIT, check=False)
    except EncliiError as error:
        return Finding("error", name, error.message, fix)
    numbers = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout + done.stderr)
    version = tuple(int(part) for part in numbers.groups(b"0")) if numbers else ()
    told, oldest = ".".join(map(str, version)) or "of an unknown version", ".".join(map(str, OLDEST[name]))
    if version and version < OLDEST[name]:
        return Finding("error", name, f"{told}; {oldest} or newer is needed", fix)
    return Finding("ok" if version else "warning", name, f"{told} at {path}", "" if version else fix)


def check_keys(home: Path) -> Iterable[Finding]:
    """Whether anybody but their owner can read the keys and secrets."""
    files = [*(home / "secrets").glob("*"), *(home / "keys").glob("*.key"), *(home / "credentials").glob("*")]
    bare = [file for file in files if file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077]
    for file in bare:
        yield Finding("error", "keys", f"{file} can be read by others", f"chmod 600 {file}")
    if not bare:
        yield Finding("ok", "keys", f"{len(files)} keys and secrets, readable by their owner alone")


def check_disk(home: Path) -> Iterable[Finding]:
    """How much room is left where the state folder is, and where podman keeps images."""
    root = Path("/var/lib/containers") if os.getuid() == 0 else Path.home() / ".local/share/containers"
    seen: set[int] = set()
    for place in (home, root):
        if not place.exists() or place.stat().st_dev in seen:
            continue
        seen.add(place.stat().st_dev)
        free = shutil.disk_usage(place).free
        level = "error" if free < NO_DISK else "warning" if free < LOW_DISK else "ok"
        fix = "" if level == "ok" else "make room; enclii destroy what is not needed, podman image prune"
        yield Finding(level, "disk", f"{free / (1 << 30):.1f} GiB free at {place}", fix)  # type: ignore[arg-type]


def check_ports(home: Path) -> Iterable[Finding]:
    """Which ports were stepped around, because others had them."""
    taken = ports.read(home / "ports.toml")
    moved = {name: port for name, port in taken.items() if port != ports.PREFERRED[name]}
    if moved:
        told = ", ".join(f"{name} {port} instead of {ports.PREFERRED[name]}" for name, port in moved.items())
        yield Finding("ok", "ports", f"stepped around what was in use: {told}")
    elif taken:
        yield Finding("ok", "ports", "all as documented")


def check_processes(home: Path) -> Iterable[Finding]:
    """Whether each process runs and is ready."""
    if nothing_runs(home):
        yield Finding("error", "processes", "none is up", START)
        return
    late = platform.not_ready(home, limit=0.0)
    for state in _not_running(home):
        told = f"{state.state} {state.problem}".strip()
        yield Finding("error", state.name, told, f"see {home}/logs/{state.name}.log")
    for name in late:
        yield Finding("error", name, "is not ready", f"see {home}/logs/{name}.log")
    if not late:
        yield Finding("ok", "processes", f"all {len(programs.needed(home))} are ready")


def nothing_runs(home: Path) -> bool:
    """Whether no process of this installation is up: neither a supervisor that would start them, nor one that is ready.

    What can then be said of the stores is that they are not up either.
    """
    try:
        platform.status(home)
    except EncliiError:
        return _none_ready(home)
    return False


def _none_ready(home: Path) -> bool:
    try:
        return len(platform.not_ready(home, limit=0.0)) == len(programs.needed(home))
    except EncliiError:  # there are no addresses: nothing was ever started
        return True


def _not_running(home: Path) -> list[State]:
    """What the supervisor cannot keep running; nothing when Enclii runs in the foreground."""
    try:
        return [state for state in platform.status(home) if not state.running]
    except EncliiError:
        return []


async def check_residue(home: Path) -> list[Finding]:
    """What of this installation is left though none of its processes is up."""
    if not nothing_runs(home):
        return []
    at = addresses(home)
    left = [str(path) for path in (home / "builder" / "scratch").glob("*")]
    try:
        left += map(str, await residue.services(instance=at.instance, home=home))
    except EncliiError as error:
        return [Finding("warning", "residue", error.message, "is podman in order? podman info")]
    if not left:
        return [Finding("ok", "residue", "nothing of this installation is left")]
    told = ", ".join(sorted(left))
    return [Finding("warning", "residue", f"left while Enclii is down: {told}", f"{START}, or enclii down")]
