"""The release's job on podman: run once in a pod of its own before the first replica, and judged by its exit code.

The container that ended is the memory: a start that is repeated finds it and does not run it again.
"""

from __future__ import annotations

import json
from typing import Any

from gitops.clusters import Wanted
from gitops.clusters import podman_commands as commands
from gitops.clusters.podman_calls import QUICK, Calls
from gitops.clusters.podman_logs import Reader
from gitops.clusters.subset import Job, manifests
from pipeline.errors import Permanent
from pipeline.process import CommandFailed, CommandTimeout

TOLD_LINES = 20
EXITED = ("exited", "stopped")


async def run_once(calls: Calls, instance: str, wanted: Wanted, job: Job, *, limits: bool) -> None:
    """Raises Permanent ``release_failed`` with the last lines, ``release_timeout``, Unavailable."""
    name = commands.job_pod_name(instance, wanted.ref, wanted.deployment)
    container = f"{name}-{job.pod.container}"
    there = await _found(calls, instance, wanted)
    if there is None or there["State"] not in ("running", *EXITED):
        await _begin(calls, instance, wanted, job, name, limits=limits)
    code = await _ended(calls, wanted, job, container)
    if code != 0:
        raise Permanent(
            f"the release job of {wanted.ref} {wanted.release} ended with code {code}; nothing was replaced"
            + await _last_words(calls, container, name, wanted),
            reason="release_failed",
        )


async def _found(calls: Calls, instance: str, wanted: Wanted) -> dict[str, Any] | None:
    listed = await calls.read(commands.containers(instance, wanted.ref), "list containers")
    mine = (one for one in listed if (one.get("Labels") or {}).get(commands.PREFIX + "job") == wanted.deployment)
    return next(mine, None)


async def _begin(calls: Calls, instance: str, wanted: Wanted, job: Job, name: str, *, limits: bool) -> None:
    await calls.change(commands.pod_remove([name]), "clear a pod")
    await calls.change(commands.remove([f"{name}-{job.pod.container}"]), "clear a container")
    documents = manifests(
        job.pod,
        name=name,
        labels=commands.job_labels(instance, wanted),
        host_ports={},
        limits=limits,
        secret_prefix=commands.secret_prefix(instance, wanted.ref),
        restart="Never",
    )
    network = commands.network_name(instance, wanted.ref)
    # An alias of its own: under the service's name it would be sent the service's requests.
    argv = commands.play(network, f"{wanted.ref.service}-release")
    text = "\n---\n".join(json.dumps(document) for document in documents)
    await calls.change(argv, f"start the release job of {wanted.ref}", stdin=text.encode())


async def _ended(calls: Calls, wanted: Wanted, job: Job, container: str) -> int:
    try:
        done = await calls.run(commands.wait(container), "wait for the release job", timeout=job.timeout)
    except Exception as error:
        if not isinstance(error.__cause__, CommandTimeout):
            raise
        await calls.change(commands.stop([container], 1.0), "stop the release job", timeout=QUICK)
        raise Permanent(
            f"the release job of {wanted.ref} {wanted.release} took more than {job.timeout} s; nothing was replaced",
            reason="release_timeout",
        ) from None
    word = done.stdout.decode().strip()
    return int(word) if word.lstrip("-").isdigit() else 1


async def _last_words(calls: Calls, container: str, name: str, wanted: Wanted) -> str:
    try:
        lines = await Reader(container, name, wanted.release, calls.env).read(tail=TOLD_LINES)
    except (CommandFailed, CommandTimeout):
        return ""
    return "".join(f"\n  {line.text.decode('utf-8', 'replace')[:300]}" for line in lines)
