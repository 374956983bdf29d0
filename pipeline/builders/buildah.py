"""One build by buildah, from a directory to a digest in the registry, bounded in everything and gone without a trace.

The store stays between builds, because it is the layer cache; working containers, mounts, processes, control groups
and temporary files do not, however the build or the worker ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline import images
from pipeline.build_log import BoundedLog, LineSink
from pipeline.builders import BuildFailed, BuildJob, Built, Limits
from pipeline.builders import buildah_commands as commands
from pipeline.builders import buildah_outcome as outcome
from pipeline.builders.buildah_host import HostFacts
from pipeline.builders.buildah_steps import Steps
from pipeline.builders.dockerfiles import mounts, scanned, scoped
from pipeline.builders.stall import unless_stalled
from pipeline.disk import DiskLimit, usage, watch
from pipeline.errors import Refused, Unavailable
from pipeline.process import CommandTimeout, orphan_proof, run, stream

GRACE = 2.0
TIDY_LIMIT = 60.0


async def build(job: BuildJob, *, host: HostFacts, limits: Limits, log: LineSink) -> Built:
    """Build and push one image; one build at a time in one worker's directory.

    Raises BuildFailed for what the sources are to blame for, Unavailable for everything else, Refused for Dockerfiles
    that ask for what a build may not have. Cancelling ends the build and its processes.
    """
    started = _now()
    if len(job.platforms) > 1:
        raise Refused("buildah builds for one platform here: configure BuildKit", reason="platforms_not_available")
    text, found = await asyncio.to_thread(scanned, job)
    output = BoundedLog(log, head=limits.log_head, tail=limits.log_tail, masker=job.masker)
    steps = Steps(output)
    try:
        async with _bounded(host, limits, output):
            bases = await _pull_all(found.images, job, host)
            image_id = await _build_image(job, _written(job, text, host), host, limits, output, steps)
            digest = await _push(job, image_id, host)
    except BuildFailed as error:
        error.report = steps.report(failed=True)
        raise
    finally:
        await output.close()
    return Built(digest, bases, started, _now(), steps.report())


async def sweep(host: HostFacts) -> None:
    """Remove what a killed worker left in this directory. Call it before the first build, never during one."""
    async with asyncio.timeout(TIDY_LIMIT):
        while pids := _processes_of(host):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)
    await tidy(host)


async def collect(host: HostFacts, max_bytes: int) -> None:
    """Bring the store below ``max_bytes``: the layer cache goes first, base images only if that was not enough."""
    for everything in (False, True):
        if await asyncio.to_thread(usage, host.store.root) <= max_bytes:
            return
        argv = commands.prune_command(host.store, everything=everything)
        await run(orphan_proof(argv), timeout=TIDY_LIMIT, env=host.environment, check=False)


@contextlib.asynccontextmanager
async def _bounded(host: HostFacts, limits: Limits, output: BoundedLog) -> AsyncIterator[None]:
    """Around the body: deadline, disk watch and control group before, a clean directory after."""
    host.prepare()
    try:
        if host.sandbox.cgroup_parent:
            host.cage.remove()
            host.cage.create(memory=limits.memory, cpus=limits.cpus, pids=limits.processes)
        async with asyncio.timeout(limits.seconds), unless_stalled(output, limits.stall), watched(host, limits):
            yield
    except (TimeoutError, CommandTimeout):
        text = f"the build did not end within {limits.seconds:g} s\n{output.tail()}"
        raise BuildFailed(text, reason="build_timeout") from None
    except DiskLimit as error:
        raise BuildFailed(f"{error}\n{output.tail()}", reason="build_disk_full") from None
    finally:
        await asyncio.shield(tidy(host))


@contextlib.asynccontextmanager
async def watched(host: HostFacts, limits: Limits) -> AsyncIterator[None]:
    """Cancel the body when the directory grows too far; the first error comes through bare."""
    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch(host.state, growth=limits.disk, keep_free=limits.keep_free))
            yield
            watcher.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _pull_all(references: Sequence[str], job: BuildJob, host: HostFacts) -> dict[str, str]:
    return {reference: await _pull(reference, job, host) for reference in references}


async def _pull(reference: str, job: BuildJob, host: HostFacts) -> str:
    """Bring one base image into the store under its own name and return its digest."""
    pin = job.pins.get(reference)
    wanted = f"{_without_tag(reference)}@{pin}" if pin else reference
    plain = job.plain_http and reference.split("/")[0] == job.repository.split("/")[0]
    argv = commands.pull_command(host.store, wanted, plain_http=plain, authfile=job.authfile)
    done = await run(orphan_proof(argv), timeout=TIDY_LIMIT * 10, env=host.environment, check=False, grace=GRACE)
    if done.returncode != 0:
        raise outcome.of_pull(reference, _last_line(done.stderr))
    image_id = done.stdout.decode().split()[-1]
    if pin:
        await _ask(commands.tag_command(host.store, image_id, reference), host)
        return pin
    return images.digest((await _ask(commands.digest_command(host.store, reference), host)).strip())


def _written(job: BuildJob, text: str, host: HostFacts) -> Path:
    """The Dockerfile to build from. Mounted caches end with their build, but a step that mounts one, or a secret, is
    cached by its text alone: there the scope is made part of it.
    """
    own = job.context / job.dockerfile
    if not job.scope or not mounts(text):
        return own
    file = host.scratch / "Dockerfile"
    file.write_text(scoped(text, job.scope))
    for ending in ("containerignore", "dockerignore"):
        ignore = own.with_name(f"{own.name}.{ending}")
        if ignore.is_file() and not ignore.is_symlink():
            shutil.copyfile(ignore, file.with_name(f"Dockerfile.{ending}"))
    return file


async def _build_image(
    job: BuildJob, dockerfile: Path, host: HostFacts, limits: Limits, output: BoundedLog, steps: Steps
) -> str:
    iidfile = host.scratch / "iid"
    argv = commands.build_command(
        host.store,
        host.sandbox,
        context=job.context,
        dockerfile=dockerfile,
        target=job.target,
        arguments=job.arguments,
        timestamp=job.timestamp,
        iidfile=iidfile,
        processes=limits.processes,
        platform="".join(job.platforms),
        secrets=job.secrets,
        no_cache=job.no_cache,
    )
    code = await stream(orphan_proof(argv), steps.write, timeout=limits.seconds, env=host.environment, grace=GRACE)
    if code != 0:
        memory = bool(host.sandbox.cgroup_parent) and host.cage.hit_memory_limit()
        raise outcome.of_build(code, output.last_error_line, output.tail(), out_of_memory=memory)
    return iidfile.read_text().strip()


async def _push(job: BuildJob, image_id: str, host: HostFacts) -> str:
    target, digestfile = f"{job.repository}:{job.tag}", host.scratch / "digest"
    argv = commands.push_command(
        host.store, image_id, target, digestfile=digestfile, plain_http=job.plain_http, authfile=job.authfile
    )
    done = await run(orphan_proof(argv), timeout=TIDY_LIMIT * 10, env=host.environment, check=False, grace=GRACE)
    if done.returncode != 0:
        raise outcome.of_push(target, _last_line(done.stderr))
    return images.digest(digestfile.read_text().strip())


async def _ask(argv: tuple[str, ...], host: HostFacts) -> str:
    done = await run(orphan_proof(argv), timeout=TIDY_LIMIT, env=host.environment)
    return done.stdout.decode()


async def tidy(host: HostFacts) -> None:
    """Processes first, then containers, mounts, control group and files: each needs the one before to be gone."""
    if not host.state.exists():
        return
    await host.cage.kill()
    if await asyncio.to_thread(host.store.has_containers):
        argv = commands.remove_containers_command(host.store)
        await run(orphan_proof(argv), timeout=TIDY_LIMIT, env=host.environment, check=False)
    for point in _mounts_below(host.state):
        await run(("umount", "--lazy", "--", point), timeout=TIDY_LIMIT, check=False)
    host.cage.remove()
    await asyncio.to_thread(shutil.rmtree, host.scratch, ignore_errors=True)
    if _mounts_below(host.state):
        raise Unavailable(f"mounts of a build stayed below {host.state}", reason="build_left_mounts")


def _mounts_below(state: Path) -> list[str]:
    """Deepest first; the kernel writes blanks and backslashes of a path as octal."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    points = [line.split()[4].encode("latin-1", "replace").decode("unicode_escape") for line in text.splitlines()]
    return sorted((point for point in points if Path(point).is_relative_to(state)), key=len, reverse=True)


def _processes_of(host: HostFacts) -> list[int]:
    """Every buildah (and runtime) that works in this directory, found by its command line."""
    marks = {str(host.store.root).encode(), f"root={host.sandbox.runtime_root}".encode()}
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (directory / "cmdline").read_bytes().split(b"\0")
                if marks.intersection(words):
                    found.append(int(directory.name))
    return found


def _without_tag(reference: str) -> str:
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
