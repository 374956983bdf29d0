"""What Enclii consists of while it runs: the two stores, and one process for each line of the Procfile."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from console.supervise import STORES, Program
from pipeline import process
from pipeline.errors import Unavailable
from pipeline.settings import PROCESSES

ROOMS: Final = {
    "receiver": "ingest",
    "githost": "ingest",
    "planner": "pipeline",
    "builder": "pipeline",
    "signer": "pipeline",
    "committer": "gitops",
    "syncer": "gitops",
    "door": "gitops",
    "forge": "gitops",
    "console": "console",
}
VERSION_LIMIT: Final = 10.0
LEISURE: Final = {"GOGC": "400"}
"""The registry's heap is a few megabytes: collected at every doubling, that took a third of its processor time."""
DRAIN: Final = 30
"""Longer than the processes' own ``ENCLII_DRAIN``, so that each ends by itself."""


def arguments(name: str) -> tuple[str, ...]:
    """How Python is told to be that process."""
    return ("-m", ROOMS[name], "api" if name == "console" else name)


def needed(home: Path) -> tuple[str, ...]:
    """The processes that this installation needs: the one that speaks with forges, and notifies, only where
    it has a credential."""
    forges = any((home / "forges").glob("*.json")) or any((home / "forges/notify").glob("*.json"))
    return tuple(name for name in PROCESSES if name != "forge" or forges)


def processes(environments: Mapping[str, Mapping[str, str]]) -> tuple[Program, ...]:
    """Enclii's own processes, each with its environment and nobody else's."""
    return tuple(
        Program(name, (sys.executable, *arguments(name)), env=environments[name], stop=DRAIN)
        for name in PROCESSES
        if name in environments
    )


async def stores(home: Path, *, search: str) -> tuple[Program, ...]:
    """NATS and the registry, looked for in ``search`` too. Raises Unavailable when one of them is missing."""
    server = await newest("nats-server", search=search)
    return (
        Program("nats", (server, "-c", str(home / "nats.conf")), group=STORES, stop=DRAIN),
        Program("registry", (registry(search=search), "serve", str(home / "registry.yml")), group=STORES, env=LEISURE),
    )


def registry(*, search: str) -> str:
    """The registry's program, looked for in ``search`` too. Raises Unavailable when it is missing."""
    everywhere = os.pathsep.join((search, process.SEARCH_PATH))
    found = shutil.which("docker-registry", path=everywhere) or shutil.which("registry", path=everywhere)
    if found is None:
        raise Unavailable("docker-registry is not installed: make up installs it", reason="program_missing")
    return found


async def newest(name: str, *, search: str) -> str:
    """The program of that name beside this Python or in ``search``, whichever is newer. Raises Unavailable."""
    beside = str(Path(sys.executable).parent)
    found = {shutil.which(name, path=place) for place in (beside, search)}
    versions = {path: await _version(path) for path in found if path is not None}
    if not versions:
        raise Unavailable(f"{name} is not installed: make up installs it", reason="program_missing")
    return max(versions, key=lambda path: (versions[path], path.startswith(beside)))


async def _version(path: str) -> tuple[int, ...]:
    done = await process.run((path, "--version"), timeout=VERSION_LIMIT, check=False)
    numbers = re.search(rb"(\d+)\.(\d+)\.(\d+)", done.stdout + done.stderr)
    return tuple(int(number) for number in numbers.groups()) if numbers else ()
