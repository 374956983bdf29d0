"""What a BuildKit daemon is: asked once at start, its version held against the floor, and shown by ``doctor``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.builders.buildkit_commands import Daemon, workers_command
from pipeline.errors import Unavailable
from pipeline.process import CommandFailed, CommandTimeout, orphan_proof, run

FLOOR = (0, 28, 1)
FRONTEND_FLOOR = (1, 23)
"""The frontend of 0.29, the first after the floor: the evidence for a daemon that was built without a version."""
ASK_LIMIT = 15.0
NETWORK_LABEL = "org.mobyproject.buildkit.worker.network"


@dataclass(frozen=True)
class DaemonFacts:
    """Version as told, platforms that it builds for, and the network that RUN lines have unless told otherwise."""

    version: str
    platforms: tuple[str, ...]
    network: str
    rootless: bool
    problems: tuple[str, ...] = ()


async def ask(daemon: Daemon, *, env: Mapping[str, str] | None = None) -> DaemonFacts:
    """Ask the daemon. Raises Unavailable when it does not answer or is older than the floor."""
    try:
        done = await run(orphan_proof(workers_command(daemon)), timeout=ASK_LIMIT, env=env)
    except (CommandFailed, CommandTimeout) as error:
        said = error.stderr.decode("utf-8", "replace").strip()[-300:] if isinstance(error, CommandFailed) else "silence"
        raise Unavailable(f"no BuildKit at {daemon.address}: {said}", reason="buildkit_away") from error
    return read(done.stdout, daemon)


def read(answer: bytes, daemon: Daemon) -> DaemonFacts:
    """The facts in what ``buildctl debug workers`` printed. Raises Unavailable."""
    try:
        workers = json.loads(answer)
        first: Mapping[str, Any] = workers[0]
        told = first["buildkitVersion"]
        labels: Mapping[str, str] = first.get("labels") or {}
        platforms = tuple(f"{one['os']}/{one['architecture']}" for one in first.get("platforms") or ())
    except (ValueError, LookupError, TypeError) as error:
        raise Unavailable(f"BuildKit at {daemon.address} has no worker", reason="buildkit_away") from error
    network = labels.get(NETWORK_LABEL, "")
    return DaemonFacts(
        version=checked_version(str(told.get("version", "")), str(told.get("dockerfileVersion", ""))),
        platforms=tuple(dict.fromkeys(platforms)),
        network=network,
        rootless=labels.get("org.mobyproject.buildkit.worker.oci.process-mode") == "no-sandbox",
    )


def checked_version(version: str, frontend: str) -> str:
    """How the version is shown. Raises Unavailable below the floor, and when nothing tells that it is not."""
    if found := re.match(r"v?(\d+)\.(\d+)\.(\d+)", version):
        number = (int(found[1]), int(found[2]), int(found[3]))
        if number >= FLOOR:
            return ".".join(map(str, number))
        if number > (0, 0, 0):
            floor = ".".join(map(str, FLOOR))
            raise Unavailable(
                f"BuildKit {version} is older than {floor}, which closed a hole", reason="buildkit_too_old"
            )
    told = re.match(r"(\d+)\.(\d+)", frontend)
    if told and (int(told[1]), int(told[2])) >= FRONTEND_FLOOR:
        return f"(unversioned, frontend {frontend})"
    raise Unavailable(f"BuildKit does not tell its version ({version or 'none'})", reason="buildkit_too_old")
