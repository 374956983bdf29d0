"""Builds by a BuildKit daemon, local or remote, through buildctl: from a directory to a digest in the registry.

The daemon keeps layers and does the work; here lie the request, the reading of its progress, the deadline and the
limits. The registry's cache is written behind the build, so nobody waits for it. With a local daemon every build's
processes lie in one control group of ours: its name is part of BuildKit's cache key, so all builds share it, and it
bounds them together while the daemon bounds each one's memory and processors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from pipeline import images
from pipeline.build_log import BoundedLog, LineSink
from pipeline.build_report import BuildReport
from pipeline.builders import BuildFailed, BuildJob, Built, Facts, Limits
from pipeline.builders import buildkit_commands as commands
from pipeline.builders.buildkit_commands import Room, Tool
from pipeline.builders.buildkit_daemon import DaemonFacts
from pipeline.builders.buildkit_disk import StepDisk
from pipeline.builders.buildkit_outcome import KILLED, of_build
from pipeline.builders.buildkit_progress import Progress
from pipeline.builders.buildkit_sources import fraction, mark, own_key
from pipeline.builders.dockerfiles import mounts, scanned
from pipeline.builders.stall import unless_stalled
from pipeline.cgroup import Cage
from pipeline.errors import EncliiError, Refused, Unavailable
from pipeline.isolation import SHARED_DAEMON
from pipeline.process import CommandTimeout, orphan_proof, run, stream

log = logging.getLogger(__name__)

GRACE = 5.0
EXPORT_LIMIT = 900.0
CLOSE_LIMIT = 10.0


@dataclass(frozen=True)
class Request:
    """Everything that one call of buildctl is made of."""

    job: BuildJob
    room: Room
    env: dict[str, str]


class Buildkit:
    """The builder for one daemon; ``state`` is a folder of its own for what each build hands over."""

    def __init__(
        self, daemon: Tool, facts: DaemonFacts, state: Path, limits: Limits, *, network: str, cage: Cage | None,
        slots: int = 1, problems: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self._daemon = daemon
        self._told = facts
        self._state = state
        self._limits = limits
        self._network = network
        self._cage = cage
        self._slots = slots
        self._known = problems
        self._exports: set[asyncio.Task[None]] = set()
        self._exporting = asyncio.Semaphore(1)

    @property
    def facts(self) -> Facts:
        return Facts(
            self._daemon.name, self._told.version, self._daemon.address, tuple(self._problems()), SHARED_DAEMON
        )

    @property
    def local(self) -> bool:
        """True when the daemon is on this machine, so that its own cache is all that is needed."""
        return self._daemon.local

    async def build(self, job: BuildJob, log: LineSink) -> Built:
        """Build and push; the cache follows by itself."""
        started = _now()
        self._check(job)
        text, _ = await asyncio.to_thread(scanned, job)
        output = BoundedLog(log, head=self._limits.log_head, tail=self._limits.log_tail, masker=job.masker)
        progress = Progress(output)
        try:
            async with self._request(job, text) as request:
                digest = await self._solved(request, progress, output)
                if job.cache:
                    self._export_later(request)
        except BuildFailed as error:
            error.report = self._report(progress)
            raise
        finally:
            await asyncio.shield(_ended(progress, output))
        return Built(digest, {**progress.bases, **_used(job, progress)}, started, _now(), self._report(progress))

    async def sweep(self) -> None:
        """End what still speaks for a killed worker, and remove its files; the daemon ends those builds itself."""
        for pid in _speaking_for(self._state):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(shutil.rmtree, self._state, ignore_errors=True)
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._cage:
            await self._cage.kill()
            self._cage.remove()
            limits, slots = self._limits, self._slots
            self._cage.create(memory=limits.memory * slots, cpus=limits.cpus * slots, pids=limits.processes * slots)

    async def collect(self, max_bytes: int) -> None:
        """Let the daemon drop what was not used for longest."""
        argv = self._daemon.prune(max_bytes)
        await run(orphan_proof(argv), timeout=EXPORT_LIMIT, env=self._daemon.around, check=False)

    async def close(self) -> None:
        """Give the cache a moment to be written, then leave it."""
        if self._exports:
            await asyncio.wait(self._exports, timeout=CLOSE_LIMIT)
        for task in self._exports:
            task.cancel()
        await asyncio.gather(*self._exports, return_exceptions=True)
        if self._cage:
            self._cage.remove()

    def _check(self, job: BuildJob) -> None:
        missing = [one for one in job.platforms if "/".join(one.split("/")[:2]) not in self._told.platforms]
        if missing:
            has = ", ".join(self._told.platforms)
            raise Refused(f"the builder has {has}, not {', '.join(missing)}", reason="platforms_not_available")

    async def _solved(self, request: Request, progress: Progress, output: BoundedLog) -> str:
        limits = self._limits
        argv = self._daemon.build(request.job, request.room, limits, network=self._network, cgroup=self._group)
        disk = StepDisk(self._cage, limits.disk, limits.keep_free) if self._cage else None
        try:
            async with disk.watched() if disk else contextlib.nullcontext(), unless_stalled(output, limits.stall):
                code = await stream(
                    orphan_proof(argv), progress.write, timeout=limits.seconds, env=request.env, grace=GRACE
                )
        except CommandTimeout:
            text = f"the build did not end within {limits.seconds:g} s\n{output.tail()}"
            raise BuildFailed(text, reason="build_timeout") from None
        except BuildFailed as error:
            if error.reason == "build_stalled" and not _own_step(progress.running):
                raise Unavailable(error.message, reason="builder_stalled") from None
            raise
        if code != 0:
            await progress.end()
            raise _failure(progress, output, disk)
        return _digest(request.room)

    @property
    def _group(self) -> str:
        return self._cage.inside if self._cage else ""

    @contextlib.asynccontextmanager
    async def _request(self, job: BuildJob, text: str) -> AsyncIterator[Request]:
        room = Room(Path(tempfile.mkdtemp(prefix="build-", dir=self._state)))
        try:
            await asyncio.to_thread(_furnish, room, job, text, self._daemon.login)
            nanoseconds = fraction(await asyncio.to_thread(own_key, self._state.with_name("sources.key")), job.source)
            await asyncio.to_thread(mark, job.context, seconds=job.timestamp, nanoseconds=nanoseconds)
            yield Request(job, room, {**_environment(room, job), **self._daemon.environment(job, room)})
        finally:
            await asyncio.to_thread(shutil.rmtree, room.path, ignore_errors=True)

    def _export_later(self, request: Request) -> None:
        """The sources go away with the build, so the export gets its own links to them."""
        room = Room(Path(tempfile.mkdtemp(prefix="cache-", dir=self._state)))
        shutil.copytree(request.room.path, room.path, dirs_exist_ok=True)
        shutil.copytree(request.job.context, room.path / "context", copy_function=_linked, symlinks=True)
        job = replace(request.job, context=room.path / "context")
        env = {**_environment(room, job), **self._daemon.environment(job, room)}
        task = asyncio.create_task(self._export(Request(job, room, env)))
        self._exports.add(task)
        task.add_done_callback(self._exports.discard)

    async def _export(self, request: Request) -> None:
        argv = self._daemon.export(request.job, request.room, self._limits, network=self._network, cgroup=self._group)
        try:
            async with self._exporting:
                await run(orphan_proof(argv), timeout=EXPORT_LIMIT, env=request.env, grace=GRACE)
        except EncliiError as error:
            log.warning("the build cache of %s was not written: %s", request.job.repository, error)
        finally:
            await asyncio.to_thread(shutil.rmtree, request.room.path, ignore_errors=True)

    def _report(self, progress: Progress) -> BuildReport:
        return structs.replace(progress.report(), builder=str(self.facts))

    def _problems(self) -> list[str]:
        found = [*self._known]
        if self._network != "none" and self._told.network == "host":
            found.append(
                "RUN lines share the network of BuildKit's machine, so they reach what listens there: give the daemon "
                "a network of its own (CNI), or set ENCLII_BUILD_NETWORK=none"
            )
        if self._cage is None:
            found.append("a build's disk and number of processes are bounded by the daemon's own limits alone")
        return found


def _furnish(room: Room, job: BuildJob, text: str, beside: Mapping[str, object]) -> None:
    """The Dockerfile without its frontend line, its own ignore file, the pins, the registries' accounts."""
    room.dockerfile.mkdir()
    (room.dockerfile / "Dockerfile").write_text(text)
    if mounts(text) or job.mounting:
        (room.path / "mounts").touch()
    ignore = job.context / f"{job.dockerfile}.dockerignore"
    if ignore.is_file() and not ignore.is_symlink():
        shutil.copyfile(ignore, room.dockerfile / "Dockerfile.dockerignore")
    room.policy.write_text(commands.source_policy(job.pins))
    login = json.loads(job.authfile.read_text()) if job.authfile else {}
    config = room.path / "docker"
    config.mkdir(mode=0o700)
    (config / "config.json").write_text(json.dumps({**login, **beside}))


def _environment(room: Room, job: BuildJob) -> dict[str, str]:
    return {
        "DOCKER_CONFIG": str(room.path / "docker"),
        "HOME": str(room.path),
        "TMPDIR": str(room.path),
        "SOURCE_DATE_EPOCH": str(job.timestamp),
    }


def _failure(progress: Progress, output: BoundedLog, disk: StepDisk | None) -> EncliiError:
    found = of_build(progress.words, progress.failed, output.tail())
    if disk and disk.ended and isinstance(found, BuildFailed) and found.exit_code == KILLED:
        return BuildFailed(f"{disk.ended}\n{output.tail()}", reason="build_disk_full", exit_code=KILLED)
    return found


def _digest(room: Room) -> str:
    try:
        return images.digest(str(json.loads(room.metadata.read_text())["containerimage.digest"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Unavailable("BuildKit told no digest for what it built", reason="builder_unavailable") from error


def _used(job: BuildJob, progress: Progress) -> dict[str, str]:
    """Pins that the build did use, under the name that the Dockerfile has for them."""
    told = set(progress.bases.values())
    return {name: digest for name, digest in job.pins.items() if digest in told}


def _own_step(running: tuple[str, ...]) -> bool:
    return any("RUN " in name for name in running) or not running


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


async def _ended(progress: Progress, output: BoundedLog) -> None:
    await progress.end()
    await output.close()


def _speaking_for(state: Path) -> list[int]:
    mark = f"{state}/".encode()
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (directory / "cmdline").read_bytes():
                    found.append(int(directory.name))
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
