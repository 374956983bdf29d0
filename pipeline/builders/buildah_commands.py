"""Every command line of buildah that Enclii uses, as a value: pure functions from what is wanted to an argv tuple.

Only flags that version 1.28 knows are used. Nothing secret is ever an argument; registry logins go by ``--authfile``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CONTAINER_LISTS = ("containers.json", "volatile-containers.json")
"""Where containers/storage lists working containers; the second since 1.49, for those that do not outlive a boot."""

Isolation = Literal["oci", "chroot"]
Network = Literal["private", "none"]


@dataclass(frozen=True)
class Store:
    """Where one worker keeps its images and working containers; no two workers share one."""

    root: Path
    runroot: Path
    driver: str

    def has_containers(self) -> bool:
        """False when the store's own list of working containers is empty, as a build that succeeds leaves it; True
        for a list that cannot be read."""
        lists = [self.root / f"{self.driver}-containers" / name for name in CONTAINER_LISTS]
        try:
            return any(file.exists() and json.loads(file.read_bytes() or b"[]") for file in lists)
        except (OSError, ValueError):
            return True

    def command(self, *words: str) -> tuple[str, ...]:
        paths = ("--root", str(self.root), "--runroot", str(self.runroot))
        return ("buildah", *paths, "--storage-driver", self.driver, *words)


@dataclass(frozen=True)
class Sandbox:
    """How a RUN step is shut in."""

    isolation: Isolation
    runtime: str
    runtime_root: Path
    network: Network
    cgroup_parent: str = ""  # empty: this machine lets us make none


def build_command(
    store: Store,
    sandbox: Sandbox,
    *,
    context: Path,
    dockerfile: Path,
    target: str,
    arguments: Mapping[str, str],
    timestamp: int,
    iidfile: Path,
    processes: int,
    platform: str = "",
    secrets: Mapping[str, Path] | None = None,
    no_cache: bool = False,
) -> tuple[str, ...]:
    """Build one image without a name; its id goes to ``iidfile``. Base images must be in the store already."""
    return store.command(
        *("build", "--isolation", sandbox.isolation, *_sandbox(sandbox, processes)),
        *("--format", "oci", "--layers", "--timestamp", str(timestamp), "--pull=never"),
        *("--http-proxy=false", "--identity-label=false", "--iidfile", str(iidfile), "--file", str(dockerfile)),
        *(("--target", target) if target else ()),
        *(("--platform", platform) if platform else ()),
        *(("--no-cache",) if no_cache else ()),
        *(word for name, file in sorted((secrets or {}).items()) for word in ("--secret", f"id={name},src={file}")),
        *(word for name in sorted(arguments) for word in ("--build-arg", f"{name}={arguments[name]}")),
        *("--", str(context)),
    )


def pull_command(store: Store, image: str, *, plain_http: bool, authfile: Path | None = None) -> tuple[str, ...]:
    """Bring a base image up to date in the store and print its id.

    Its registry is always asked: what another build had pulled may be old, or not for this one to see.
    """
    words = ("pull", "--quiet", "--policy", "always", *_registry(plain_http, authfile))
    return store.command(*words, "--", f"docker://{image}")


def digest_command(store: Store, image: str) -> tuple[str, ...]:
    """Print the digest under which ``image`` was pulled."""
    return store.command("inspect", "--type", "image", "--format", "{{.FromImageDigest}}", "--", image)


def tag_command(store: Store, image: str, name: str) -> tuple[str, ...]:
    """Give an image of the store another name."""
    return store.command("tag", "--", image, name)


def push_command(
    store: Store, image_id: str, target: str, *, digestfile: Path, plain_http: bool, authfile: Path | None = None
) -> tuple[str, ...]:
    """Push ``image_id`` to ``target`` (repository and tag); the manifest's digest goes to ``digestfile``."""
    return store.command(
        *("push", "--quiet", "--format", "oci", "--digestfile", str(digestfile)),
        *_registry(plain_http, authfile),
        *("--", image_id, f"docker://{target}"),
    )


def remove_containers_command(store: Store) -> tuple[str, ...]:
    """Remove every working container: a failed build leaves its last one, mounted."""
    return store.command("rm", "--all")


def prune_command(store: Store, *, everything: bool) -> tuple[str, ...]:
    """Drop the layer cache; with ``everything``, base images too."""
    return store.command("rmi", "--all", "--force") if everything else store.command("rmi", "--prune", "--force")


def _sandbox(sandbox: Sandbox, processes: int) -> tuple[str, ...]:
    if sandbox.isolation == "chroot":  # shares the machine's processes and network, whatever is asked for
        return ()
    flags = ("--runtime", sandbox.runtime, "--runtime-flag", f"root={sandbox.runtime_root}")
    network = () if sandbox.network == "private" else ("--network", "none")
    if sandbox.cgroup_parent:
        return (*flags, *network, "--cgroup-parent", sandbox.cgroup_parent)
    return (*flags, *network, "--ulimit", f"nproc={processes}:{processes}")  # counts the user's other processes too


def _registry(plain_http: bool, authfile: Path | None) -> tuple[str, ...]:
    return (*(("--tls-verify=false",) if plain_http else ()), *(("--authfile", str(authfile)) if authfile else ()))
