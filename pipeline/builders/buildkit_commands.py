"""Every command line of buildctl that Enclii uses, as a value: pure functions to argv tuples and small files.

Nothing secret is ever an argument: registry logins are in ``$DOCKER_CONFIG/config.json``, which buildctl reads and
no step sees; a build's secrets go by ``--secret``, as files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from pipeline.builders import BuildJob, Limits
from pipeline.errors import Refused


@dataclass(frozen=True)
class Daemon:
    """How buildkitd is reached: the program that speaks to it, its address, and the folder with our certificate."""

    program: str
    address: str
    tls: Path | None = None
    name: str = "buildkit"

    @property
    def local(self) -> bool:
        return self.address.startswith("unix://")

    def command(self, *words: str) -> tuple[str, ...]:
        tls = ("--tlsdir", str(self.tls)) if self.tls else ()
        return (self.program, "--addr", self.address, *tls, *words)

    def build(self, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str) -> tuple[str, ...]:
        """Build and push one image."""
        return build_command(self, job, room, limits, network=network, cgroup=cgroup)

    def export(self, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str) -> tuple[str, ...]:
        """Solve the same once more and write the cache."""
        return export_command(self, job, room, limits, network=network, cgroup=cgroup)

    def prune(self, keep_bytes: int) -> tuple[str, ...]:
        """Bring the daemon's cache below so many bytes."""
        return prune_command(self, keep_bytes=keep_bytes)

    @property
    def around(self) -> dict[str, str]:
        """The environment of a call that is no build: nothing."""
        return {}

    @property
    def login(self) -> dict[str, object]:
        """What the docker folder of one build holds beside the login: nothing."""
        return {}

    def environment(self, job: BuildJob, room: Room) -> dict[str, str]:
        """Nothing beside what every build has."""
        return {}


class Tool(Protocol):
    """A way to reach BuildKit: what to call for each wish, as argv tuples."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def local(self) -> bool: ...
    @property
    def around(self) -> dict[str, str]: ...
    @property
    def login(self) -> dict[str, object]: ...
    def build(self, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str) -> tuple[str, ...]: ...
    def export(self, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str) -> tuple[str, ...]: ...
    def prune(self, keep_bytes: int) -> tuple[str, ...]: ...
    def environment(self, job: BuildJob, room: Room) -> dict[str, str]: ...


@dataclass(frozen=True)
class Room:
    """A folder for one build: what is handed to buildctl and what it writes."""

    path: Path

    @property
    def dockerfile(self) -> Path:
        return self.path / "dockerfile"

    @property
    def metadata(self) -> Path:
        return self.path / "metadata.json"

    @property
    def policy(self) -> Path:
        return self.path / "policy.json"

    @property
    def mounts(self) -> bool:
        """Whether the Dockerfile mounts anything into a step, so that its result may hang on more than its text."""
        return (self.path / "mounts").exists()


def checked_address(address: str, tls: Path | None) -> str:
    """The address itself. Raises Refused for one that anybody on the network could use or imitate."""
    scheme = urlsplit(address).scheme
    if scheme not in {"unix", "tcp"}:
        raise Refused("buildkit_host: an address such as unix:///run/buildkit/buildkitd.sock or tcp://host:1234",
                      reason="bad_settings")  # fmt: skip
    missing = [name for name in ("ca.pem", "cert.pem", "key.pem") if tls is None or not (tls / name).is_file()]
    if scheme == "tcp" and missing:
        raise Refused(
            f"a BuildKit daemon over TCP is spoken to with mutual TLS only: set ENCLII_BUILDKIT_TLS to a folder with "
            f"{', '.join(missing)}",
            reason="buildkit_without_tls",
        )
    return address


def workers_command(daemon: Daemon) -> tuple[str, ...]:
    """Print the daemon's workers and version as JSON."""
    return daemon.command("debug", "workers", "--format", "{{json .}}")


def prune_command(daemon: Daemon, *, keep_bytes: int) -> tuple[str, ...]:
    """Bring the daemon's cache below so many bytes."""
    return daemon.command("prune", "--keep-storage", str(keep_bytes // 1_000_000))


def build_command(
    daemon: Daemon, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str
) -> tuple[str, ...]:
    """Build and push one image; the digest goes to the metadata file, progress as JSON lines to stderr."""
    reads = job.cache.reads if job.cache and not job.no_cache else ()
    return daemon.command(
        *_solve(job, room, limits, network=network, cgroup=cgroup),
        *(word for ref in reads for word in ("--import-cache", cache_reference(ref, job))),
        *("--output", image_output(job)),
        *("--metadata-file", str(room.metadata)),
        *(("--no-cache",) if job.no_cache else ()),
    )


def export_command(
    daemon: Daemon, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str
) -> tuple[str, ...]:
    """Solve the same once more, which is all cached, and write the cache to the registry."""
    assert job.cache is not None
    to = f"{cache_reference(job.cache.writes, job)},mode=max,compression=zstd,oci-mediatypes=true,ignore-error=true"
    return daemon.command(*_solve(job, room, limits, network=network, cgroup=cgroup), "--export-cache", to)


def _solve(job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str) -> tuple[str, ...]:
    options = {
        "filename": "Dockerfile",
        "target": job.target,
        "platform": ",".join(job.platforms),
        "force-network-mode": "none" if network == "none" else "",
        "cgroup-parent": cgroup,
        "memory": str(limits.memory),
        "cpuperiod": "100000",
        "cpuquota": str(int(limits.cpus * 100_000)),
        **{f"build-arg:{name}": value for name, value in sorted({**job.arguments, **apart(job, room)}.items())},
    }
    return (
        *("build", "--progress=rawjson", "--frontend", "dockerfile.v0"),
        *("--local", f"context={job.context}", "--local", f"dockerfile={room.dockerfile}"),
        *(word for name, value in options.items() if value for word in ("--opt", f"{name}={value}")),
        *(word for name, file in sorted(job.secrets.items()) for word in ("--secret", f"id={name},src={file}")),
        *(("--source-policy-file", str(room.policy)) if job.pins else ()),
    )


def apart(job: BuildJob, room: Room) -> dict[str, str]:
    """Arguments to the frontend that keep one scope's builds from what another's left in a shared daemon.

    Mounted caches get a name of their own. A step that mounts one, or a secret, is cached by its text alone, though its
    result hangs on what was mounted: the name of its machine, which is part of that key, is made the scope's.
    """
    if not job.scope:
        return {}
    return {"BUILDKIT_CACHE_MOUNT_NS": job.scope, **({"BUILDKIT_SANDBOX_HOSTNAME": job.scope} if room.mounts else {})}


def source_policy(pins: Mapping[str, str]) -> str:
    """The daemon's rules that fix each base image to its digest."""
    rules = [
        {
            "action": "CONVERT",
            "selector": {"identifier": f"docker-image://{reference}"},
            "updates": {"identifier": f"docker-image://{reference.partition('@')[0]}@{digest}"},
        }
        for reference, digest in sorted(pins.items())
        if "@" not in reference
    ]
    return json.dumps({"rules": rules})


def image_output(job: BuildJob) -> str:
    """Where the image goes: a plain manifest, pushed, with the commit's time and no other in it."""
    push = f"type=image,name={job.repository}:{job.tag},push=true,oci-mediatypes=true,rewrite-timestamp=true"
    return push + (",registry.insecure=true" if job.plain_http else "")


def cache_reference(ref: str, job: BuildJob) -> str:
    """A place for cache in the registry."""
    return f"type=registry,ref={ref}" + (",registry.insecure=true" if job.plain_http else "")
