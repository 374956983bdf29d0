"""docker buildx as a way to reach BuildKit: the same requests, in the words of ``docker buildx build``.

Its builders and its plugin lie in the user's docker folder, the login of a build in a folder of its own, so each call
is told of both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.builders import BuildJob, Limits
from pipeline.builders.buildkit_commands import Room, apart, cache_reference, image_output


@dataclass(frozen=True)
class Buildx:
    """The docker CLI with its buildx plugin; ``config`` is the docker folder, which says what builder is in use."""

    program: str
    config: Path
    address: str = "docker"
    name: str = "buildx"
    local: bool = True

    def build(self, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str) -> tuple[str, ...]:
        """Build and push; buildx's own attestations would make an index of it, another one each time."""
        reads = job.cache.reads if job.cache and not job.no_cache else ()
        return (
            *self._solve(job, room, network=network),
            *("--output", image_output(job), "--metadata-file", str(room.metadata)),
            *(word for ref in reads for word in ("--cache-from", cache_reference(ref, job))),
            *(("--no-cache",) if job.no_cache else ()),
            str(job.context),
        )

    def export(self, job: BuildJob, room: Room, limits: Limits, *, network: str, cgroup: str) -> tuple[str, ...]:
        """Solve the same once more and write the cache."""
        assert job.cache is not None
        to = f"{cache_reference(job.cache.writes, job)},mode=max,compression=zstd,oci-mediatypes=true,ignore-error=true"
        return (
            *self._solve(job, room, network=network),
            "--output",
            "type=cacheonly",
            "--cache-to",
            to,
            str(job.context),
        )

    def prune(self, keep_bytes: int) -> tuple[str, ...]:
        """Bring the daemon's cache below so many bytes."""
        return (self.program, "buildx", "prune", "--force", "--keep-storage", str(keep_bytes))

    @property
    def around(self) -> dict[str, str]:
        """The environment of a call that is no build."""
        return {"DOCKER_CONFIG": str(self.config), "BUILDX_CONFIG": str(self.config / "buildx")}

    @property
    def login(self) -> dict[str, object]:
        """Where the plugin is, for the docker folder of one build."""
        return {"cliPluginsExtraDirs": [str(self.config / "cli-plugins")]}

    def environment(self, job: BuildJob, room: Room) -> dict[str, str]:
        """Pins go by a file that buildx finds by its environment."""
        pins = {"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": str(room.policy)} if job.pins else {}
        return {"BUILDX_CONFIG": str(self.config / "buildx"), **pins}

    def inspect(self) -> tuple[str, ...]:
        """Start the builder if need be and print what it is."""
        return (self.program, "buildx", "inspect", "--bootstrap")

    def _solve(self, job: BuildJob, room: Room, *, network: str) -> tuple[str, ...]:
        arguments = sorted({**job.arguments, **apart(job, room)}.items())
        return (
            *(self.program, "buildx", "build", "--progress=rawjson", "--provenance=false", "--sbom=false"),
            *("--file", str(room.dockerfile / "Dockerfile")),
            *(("--target", job.target) if job.target else ()),
            *(("--platform", ",".join(job.platforms)) if job.platforms else ()),
            *(("--network", "none") if network == "none" else ()),
            *(word for name, value in arguments for word in ("--build-arg", f"{name}={value}")),
            *(word for name, file in sorted(job.secrets.items()) for word in ("--secret", f"id={name},src={file}")),
        )


def told(inspected: str) -> tuple[str, tuple[str, ...]]:
    """BuildKit's version and the platforms, as ``docker buildx inspect`` prints them; empty when it does not."""
    version = re.search(r"^\s*BuildKit(?: version)?:\s*(\S+)", inspected, re.MULTILINE)
    platforms = re.search(r"^\s*Platforms:\s*(.+)$", inspected, re.MULTILINE)
    names = tuple(one.strip().rstrip("*") for one in platforms[1].split(",")) if platforms else ()
    return (version[1] if version else ""), names
