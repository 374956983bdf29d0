"""Podman's command lines, names and labels as values; nothing here runs anything.

Names hold hashes of what they belong to: unique across projects, within a host name's length, and found again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gitops.clusters import ServiceRef, Wanted
from gitops.clusters.subset import Workload
from pipeline.errors import EncliiError, Invalid, Permanent, Unavailable
from pipeline.previews import SCOPE as SHARED
from pipeline.previews import is_preview
from pipeline.process import CommandFailed, CommandTimeout

Argv = tuple[str, ...]
PREFIX = "enclii.dev/"
SCOPE = ("instance", "project", "environment", "service")
MISSING_IMAGE = ("manifest unknown", "name unknown", "not found", "no such image", "image not known")
NO_PROGRAM = ("executable file not found", "no such file or directory: oci", "exec format error")
LEFT = ("is in use: pod already exists", "that name is already in use")
TAKEN = ("cannot listen on the tcp port", "address already in use")


def short_hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def network_name(instance: str, ref: ServiceRef) -> str:
    return f"enclii-{short_hash(instance, ref.project, ref.environment)}"


def service_prefix(instance: str, ref: ServiceRef) -> str:
    """What the names of all pods of a service begin with."""
    readable = re.sub(r"[^a-z0-9]+", "-", ref.service.lower())[:20].strip("-") or "service"
    return f"{readable}-{short_hash(instance, ref.project, ref.environment, ref.service)}-"


def pod_name(instance: str, ref: ServiceRef, deployment: str, number: int) -> str:
    """The deployment's id is in it, not the release's: a rollback deploys the same release a second time."""
    return f"{service_prefix(instance, ref)}{short_hash(deployment)}-{number}"


def job_pod_name(instance: str, ref: ServiceRef, deployment: str) -> str:
    """The pod of a deployment's release job."""
    return f"{service_prefix(instance, ref)}{short_hash(deployment)}-release"


def secret_mark(instance: str) -> str:
    """What the names of all secrets of an installation begin with."""
    return f"enclii-{short_hash(instance)}-"


def secret_prefix(instance: str, ref: ServiceRef) -> str:
    """Podman has one secret store for all: what the names of this environment's secrets begin with."""
    scope = SHARED if is_preview(ref.environment) else ref.environment
    return f"{secret_mark(instance)}{short_hash(ref.project, scope)}-"


def job_labels(instance: str, wanted: Wanted) -> dict[str, str]:
    """Enough to be found and removed with its service, without being one of the deployment's replicas."""
    scope = (instance, wanted.ref.project, wanted.ref.environment, wanted.ref.service)
    return {f"{PREFIX}{key}": value for key, value in zip(SCOPE, scope, strict=True)} | {
        f"{PREFIX}job": wanted.deployment
    }


def labels(instance: str, wanted: Wanted, workload: Workload, number: int) -> dict[str, str]:
    """All that an observer needs to know again after a restart, when nobody remembers what was wanted."""
    values = {
        "instance": instance,
        "project": wanted.ref.project,
        "environment": wanted.ref.environment,
        "service": wanted.ref.service,
        "deployment": wanted.deployment,
        "release": wanted.release,
        "replica": str(number),
        "pod": pod_name(instance, wanted.ref, wanted.deployment, number),
        "image": wanted.image,
        "port": str(workload.port or ""),
        "health": workload.health or "",
        "walled": "yes" if walled(wanted.ref) else "",
    }
    return {PREFIX + key: value for key, value in values.items()}


def ref_of(found: Mapping[str, str]) -> ServiceRef:
    return ServiceRef(*(found.get(PREFIX + key, "") for key in ("project", "environment", "service")))


def _filters(instance: str, ref: ServiceRef | None) -> Argv:
    values = (instance, *((ref.project, ref.environment, ref.service) if ref else ()))
    return tuple(f"--filter=label={PREFIX}{key}={value}" for key, value in zip(SCOPE, values, strict=False))


def info() -> Argv:
    return ("podman", "info", "--format", "json")


def images(path: str) -> Argv:
    """What is here of one path, of a registry; podman takes half a minute to list all that a busy machine has."""
    return ("podman", "images", f"--filter=reference={path}", "--format", "{{.Repository}}@{{.Digest}}")


def image_remove(image: str) -> Argv:
    """By its name in one repository: it may have others."""
    return ("podman", "rmi", image)


def image_exists(image: str) -> Argv:
    return ("podman", "image", "exists", image)


def pull(image: str, options: Argv) -> Argv:
    return ("podman", "pull", "-q", *options, image)


def walled(ref: ServiceRef) -> bool:
    """Whether the service's network leads nowhere: a preview's, whose containers only root can reach from outside."""
    return is_preview(ref.environment) and os.geteuid() == 0


def network_create(instance: str, ref: ServiceRef) -> Argv:
    walls = ("--internal", "--opt=isolate=true") if walled(ref) else ()
    marks = {"instance": instance, "project": ref.project, "environment": ref.environment}
    labels = tuple(f"--label={PREFIX}{key}={value}" for key, value in marks.items())
    return ("podman", "network", "create", *walls, *labels, network_name(instance, ref))


def network_exists(name: str) -> Argv:
    return ("podman", "network", "exists", name)


def network_remove(name: str) -> Argv:
    return ("podman", "network", "rm", name)


def play(network: str, alias: str) -> Argv:
    """The manifest comes on stdin: it may hold secrets."""
    return ("podman", "kube", "play", "--quiet", "--network", f"{network}:alias={alias}", "-")


def containers(instance: str, ref: ServiceRef | None = None) -> Argv:
    return ("podman", "ps", "-a", "--format", "json", *_filters(instance, ref))


def execute(container: str, command: Sequence[str], *, terminal: bool) -> Argv:
    return ("podman", "exec", "--interactive", *(("--tty",) if terminal else ()), container, *command)


def pods(instance: str, ref: ServiceRef | None = None) -> Argv:
    return ("podman", "pod", "ps", "--format", "json", *_filters(instance, ref))


def leftovers() -> Argv:
    """All containers, also those that only the storage still knows after a kill in the middle of a play."""
    return ("podman", "ps", "-a", "--external", "--format", "{{.Names}}")


def inspect(ids: Sequence[str]) -> Argv:
    return ("podman", "container", "inspect", *ids)


def inspect_image(image: str) -> Argv:
    return ("podman", "image", "inspect", image)


def start(container: str) -> Argv:
    return ("podman", "start", container)


def stop(ids: Sequence[str], grace: float) -> Argv:
    """Containers, not the pod: ``pod stop`` takes the network away first and in-flight requests hang."""
    return ("podman", "stop", "-t", str(max(0, round(grace))), *ids)


def wait(container: str) -> Argv:
    """Prints the exit code once it ended."""
    return ("podman", "wait", container)


def secret_list() -> Argv:
    return ("podman", "secret", "ls", "--format", "{{.Name}}")


def secret_create(name: str) -> Argv:
    """The value comes on stdin."""
    return ("podman", "secret", "create", name, "-")


def secret_remove(names: Sequence[str]) -> Argv:
    return ("podman", "secret", "rm", *names)


def pod_remove(names: Sequence[str]) -> Argv:
    return ("podman", "pod", "rm", "-f", "-i", "-t", "0", *names)


def remove(names: Sequence[str]) -> Argv:
    return ("podman", "rm", "-f", "-i", "-v", "-t", "0", *names)


def volumes() -> Argv:
    return ("podman", "volume", "ls", "--format", "{{.Name}}")


def volume_remove(names: Sequence[str]) -> Argv:
    return ("podman", "volume", "rm", "-f", *names)


def logs(container: str, *, follow: bool = False, tail: int | None = None, since: str | None = None) -> Argv:
    options = (*(("-f",) if follow else ()), *(("--tail", str(tail)) if tail is not None else ()))
    return ("podman", "logs", "-t", *options, *(("--since", since) if since else ()), container)


def events(instance: str) -> Argv:
    return ("podman", "events", "--format", "json", "--filter=type=container", *_filters(instance, None))


def said(error: CommandFailed) -> str:
    """The last error line, without podman's chatter about a missing syslog."""
    text = error.stderr.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip() and "failed to connect to syslog" not in line]
    return (lines[-1] if lines else f"code {error.returncode}").strip()[:500]


def _any(text: str, needles: Iterable[str]) -> bool:
    return any(needle in text for needle in needles)


def port_taken(error: CommandFailed) -> bool:
    return _any(error.stderr.decode("utf-8", "replace").lower(), TAKEN)


def name_taken(error: CommandFailed) -> bool:
    """A play that was killed left a pod that never ran, or a container that only the storage knows."""
    return _any(error.stderr.decode("utf-8", "replace").lower(), LEFT)


def fault(error: CommandFailed | CommandTimeout, doing: str) -> EncliiError:
    """What a failed call means; argv stays out of the text."""
    if isinstance(error, CommandTimeout):
        return Unavailable(f"podman did not answer in time ({doing})", reason="podman_hangs")
    if error.returncode == 127 and error.argv[:1] == ("podman",) and b"Error" not in error.stderr:
        return Unavailable("podman cannot be started; is it installed?", reason="podman_missing")
    text = error.stderr.decode("utf-8", "replace").lower()
    if doing.startswith("pull") and _any(text, MISSING_IMAGE):
        return Permanent(f"{doing}: the registry has no such image", reason="image_missing")
    if doing.startswith("pull"):
        return Unavailable(f"{doing}: {said(error)}", reason="registry_unavailable")
    if _any(text, TAKEN):
        return Unavailable(f"{doing}: no free port was found", reason="port_taken")
    if _any(text, NO_PROGRAM):
        return Permanent(f"{doing}: the image does not hold the command: {said(error)}", reason="command_not_found")
    if error.returncode == 2 and "panic" in text:
        return Invalid(f"{doing}: podman cannot read this manifest", reason="unsupported_manifest")
    return Unavailable(f"{doing}: {said(error)}", reason="podman_failed")


def newest(found: Iterable[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """The containers of one deployment, by replica number."""
    mine = [item for item in found if (item.get("Labels") or {}).get(PREFIX + "deployment") == kind]
    return sorted(mine, key=lambda item: int(item["Labels"].get(PREFIX + "replica", 0)))
