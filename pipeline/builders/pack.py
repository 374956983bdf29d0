"""Builds by Cloud Native Buildpacks through ``pack``, where it is installed and a Docker API answers, also podman's.

The same images and the same sources as in lifecycle.py, with the container made by that daemon, whose limits are what
bounds it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.build_log import BoundedLog, LineSink
from pipeline.builders import BuildFailed, BuildJob, Built, Facts, Limits, project_toml
from pipeline.builders import lifecycle_outcome as outcome
from pipeline.builders.lifecycle import builder_of, variables
from pipeline.builders.lifecycle_steps import Steps
from pipeline.builders.stall import unless_stalled
from pipeline.dockerfile import full_reference
from pipeline.errors import EncliiError, Unavailable
from pipeline.names import token
from pipeline.process import CommandTimeout, orphan_proof, stream
from pipeline.registries import Registries

GRACE = 15.0
"""Seconds in which pack removes its containers when it is told to end."""

_STATUS = re.compile(r"failed with status code: (\d+)")
_DAEMON = re.compile(r"Cannot connect to the Docker daemon|connection refused|i/o timeout|no such host|unexpected EOF")


@dataclass(frozen=True)
class Tool:
    """The program, and the Docker API that it is to use; empty: docker's own."""

    program: str
    version: str
    docker_host: str


class Pack:
    """The builder; ``listed`` are the operator's images, the default first, ``state`` is a folder of its own."""

    def __init__(
        self, tool: Tool, limits: Limits, state: Path, *, listed: tuple[str, ...], registries: Registries
    ) -> None:
        self._tool = tool
        self._limits = limits
        self._state = state
        self._listed = listed
        self._registries = registries

    @property
    def facts(self) -> Facts:
        told = (
            "its containers share the network of docker's machine: list only builder images that you trust",
            "memory, processors and disk of a build are bounded by docker's daemon alone",
        )
        return Facts("pack", self._tool.version, self._listed[0], told)

    async def build(self, job: BuildJob, log: LineSink) -> Built:
        """Have pack run the builder image, by its digest, on the sources."""
        started = _now()
        project = await asyncio.to_thread(project_toml.read, job.context)
        reference = builder_of(job, project, self._listed)
        environment = variables(job, project)
        output = BoundedLog(log, head=self._limits.log_head, tail=self._limits.log_tail, masker=job.masker)
        steps = Steps(output, builder=str(self.facts))
        room = Path(tempfile.mkdtemp(prefix="pack-", dir=self._state))
        try:
            pinned = await self._pinned(reference)
            await output.write("step", f"builder image {pinned}".encode())
            await asyncio.to_thread(_furnish, room, job, environment)
            await self._run(pack_command(self._tool, job, pinned, room), room, output, steps)
            digest = outcome.digest_of(room / "report" / "report.toml")
        except BuildFailed as error:
            error.report = steps.report(failed=True)
            raise
        finally:
            await output.close()
            await asyncio.to_thread(shutil.rmtree, room, ignore_errors=True)
        return Built(digest, {reference: pinned.rpartition("@")[2]}, started, _now(), steps.report())

    async def sweep(self) -> None:
        """The files of a killed worker; its containers carry pack's label and are the daemon's to prune."""
        await asyncio.to_thread(shutil.rmtree, self._state, ignore_errors=True)
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def collect(self, max_bytes: int) -> None:
        """What is kept between builds lies in docker's volumes, which it prunes itself."""

    async def close(self) -> None:
        """Nothing goes on behind a build."""

    async def _pinned(self, reference: str) -> str:
        """The image by its digest, so that what runs is what provenance names."""
        host, _, rest = full_reference(reference).partition("/")
        repository, _, tag = rest.partition(":")
        async with self._registries.client(host) as registry:
            found = await registry.manifest(repository, tag or "latest")
        if found is None:
            raise BuildFailed(f"base image {reference}: manifest unknown", reason="base_image_missing")
        return f"{host}/{repository}@{found.digest}"

    async def _run(self, argv: tuple[str, ...], room: Path, output: BoundedLog, steps: Steps) -> None:
        limits = self._limits
        env = {
            "HOME": str(self._state), "DOCKER_CONFIG": str(room / "docker"), "TMPDIR": str(room),
            "PACK_VOLUME_KEY": "enclii", **({"DOCKER_HOST": self._tool.docker_host} if self._tool.docker_host else {}),
        }  # fmt: skip
        try:
            async with unless_stalled(output, limits.stall):
                code = await stream(orphan_proof(argv), steps.write, timeout=limits.seconds, env=env, grace=GRACE)
        except CommandTimeout:
            text = f"the build did not end within {limits.seconds:g} s\n{output.tail()}"
            raise BuildFailed(text, reason="build_timeout") from None
        if code != 0:
            raise of_pack(code, output.last_error_line, output.tail())


def pack_command(tool: Tool, job: BuildJob, builder: str, room: Path) -> tuple[str, ...]:
    """Build and push one image; variables go by file, the login by the docker folder in the environment."""
    host = job.repository.partition("/")[0]
    cache = f"type=build;format=volume;name=enclii-{token(job.repository)[:16]}"
    away = job.plain_http and not host.startswith(("127.", "localhost", "[::1]"))
    return (
        *(tool.program, "build", f"{job.repository}:{job.tag}", "--path", str(job.context), "--builder", builder),
        *("--publish", "--trust-builder", "--pull-policy", "if-not-present", "--network", "host", "--no-color"),
        *("--creation-time", str(job.timestamp), "--cache", cache, "--env-file", str(room / "environment")),
        *("--report-output-dir", str(room / "report")),
        *(("--clear-cache",) if job.no_cache else ()),
        *(("--insecure-registry", host) if away else ()),
    )


def of_pack(code: int, last_line: str, tail: str) -> EncliiError:
    """The error, by pack's last line: the lifecycle's own exit code when it has one."""
    if found := _STATUS.search(last_line):
        return outcome.of_creator(int(found[1]), tail, out_of_memory=False)
    if _DAEMON.search(last_line):
        return Unavailable(f"pack: {last_line[-500:]}", reason="builder_unavailable")
    return BuildFailed(f"pack ended with {code}\n{tail}", reason="build_failed", exit_code=code)


def _furnish(room: Path, job: BuildJob, environment: Mapping[str, str]) -> None:
    broken = [name for name, value in environment.items() if "\n" in value]
    if broken:
        raise BuildFailed(f"{broken[0]}: pack takes no value of several lines", reason="bad_project_toml")
    (room / "environment").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    (room / "docker").mkdir(mode=0o700)
    (room / "docker" / "config.json").write_text(job.authfile.read_text() if job.authfile else "{}")
    (room / "report").mkdir()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
