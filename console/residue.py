"""What Enclii made outside its state folder: containers, networks, volumes and pulled images, found by their labels.

Nothing is touched that does not carry this installation's label or was not pulled from its own registry.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gitops.clusters import ServiceRef, podman_host
from gitops.clusters import podman_commands as commands
from gitops.clusters.podman import Podman
from pipeline import process

LIMIT: Final = 60.0
GRACE: Final = 10.0
TRIES: Final = 5


async def end_services(*, instance: str, home: Path) -> int:
    """Stop and remove every service of this installation, as the syncer would; returns how many there were."""
    found = await services(instance=instance, home=home)
    cluster = Podman(instance=instance, containers_conf=podman_host.write_configuration(home / "podman"))
    for service in found:
        await cluster.remove(service, grace=GRACE)
    return len(found)


async def services(*, instance: str, home: Path) -> tuple[ServiceRef, ...]:
    """Every service of this installation that has a container or a pod. Raises CommandFailed, CommandTimeout."""
    if shutil.which("podman", path=process.SEARCH_PATH) is None:
        return ()
    env = podman_host.environment(podman_host.write_configuration(home / "podman"), None)
    found = [*await _json(commands.pods(instance), env), *await _json(commands.containers(instance), env)]
    return tuple(sorted({commands.ref_of(item["Labels"]) for item in found}))


async def forget(*, instance: str, home: Path, registry: str) -> None:
    """Remove what outlives a service: its environment's network and secrets, and images pulled from ``registry``."""
    if shutil.which("podman", path=process.SEARCH_PATH) is None:
        return
    env = podman_host.environment(podman_host.write_configuration(home / "podman"), None)
    label = f"label={commands.PREFIX}instance={instance}"
    networks = await _lines(("podman", "network", "ls", "--quiet", "--filter", label), env)
    images = await _images(env)
    ours = {line.split()[0] for line in images if line.split()[1:2] and line.split()[1].startswith(f"{registry}/")}
    mark = commands.secret_mark(instance)
    secrets = [name for name in await _lines(commands.secret_list(), env) if name.startswith(mark)]
    if secrets:
        await process.run(commands.secret_remove(secrets), timeout=LIMIT, env=env)
    if networks:
        await process.run(("podman", "network", "rm", *networks), timeout=LIMIT, env=env)
    if ours:
        await process.run(("podman", "rmi", "--force", *sorted(ours)), timeout=LIMIT, env=env)


async def _images(env: Mapping[str, str]) -> list[str]:
    """Id and name of every image. podman fails as a whole when somebody removes one of them while it lists."""
    listed = ("podman", "images", "--format", "{{.Id}} {{.Repository}}")
    for _ in range(TRIES - 1):
        with contextlib.suppress(process.CommandFailed):
            return await _lines(listed, env)
    return await _lines(listed, env)


async def delete(home: Path) -> None:
    """Remove the state folder. Files that a rootless build made under other user ids need podman's own view of it."""
    try:
        await asyncio.to_thread(shutil.rmtree, home)
    except PermissionError:
        env = podman_host.environment(None, None)
        await process.run(("podman", "unshare", "rm", "-rf", "--", str(home)), timeout=LIMIT, env=env)


async def _json(argv: commands.Argv, env: Mapping[str, str]) -> list[Mapping[str, Any]]:
    done = await process.run(argv, timeout=LIMIT, env=env)
    found: list[Mapping[str, Any]] = json.loads(done.stdout or b"[]") or []
    return found


async def _lines(argv: commands.Argv, env: Mapping[str, str]) -> list[str]:
    return (await process.run(argv, timeout=LIMIT, env=env)).stdout.decode().splitlines()
