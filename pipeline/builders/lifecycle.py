"""Builds by Cloud Native Buildpacks: the builder image's ``creator`` in one podman container, gone without a trace.

The container has the registry's login and may reach the registry, so only images that the operator listed are run, and
only for sources of a trusted class; the buildpacks themselves run as the image's unprivileged user.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import resource
import shutil
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.build_log import BoundedLog, LineSink
from pipeline.builders import BuildFailed, BuildJob, Built, Facts, Limits, buildah, project_toml
from pipeline.builders import buildah_outcome as pulling
from pipeline.builders import lifecycle_commands as commands
from pipeline.builders import lifecycle_outcome as outcome
from pipeline.builders.buildah_host import HostFacts
from pipeline.builders.lifecycle_commands import BuilderImage, Mounts
from pipeline.builders.lifecycle_steps import Steps
from pipeline.builders.stall import unless_stalled
from pipeline.disk import DiskLimit, usage
from pipeline.errors import Refused, Unavailable
from pipeline.names import token
from pipeline.process import CommandTimeout, orphan_proof, run, stream

_log = logging.getLogger(__name__)

PULL_LIMIT = 900.0
TIDY_LIMIT = 60.0
GRACE = 5.0
_LIMITS = {"nofile": (resource.RLIMIT_NOFILE, 1024), "nproc": (resource.RLIMIT_NPROC, 4096)}


@dataclass(frozen=True)
class Plan:
    """One build's builder image and the folders that its container sees."""

    image: BuilderImage
    project: project_toml.Project
    mounts: Mounts


class Lifecycle:
    """The builder; one build at a time in its directory. ``listed``: the operator's images, the default first."""

    def __init__(self, host: HostFacts, limits: Limits, *, listed: tuple[str, ...], version: str) -> None:
        self._host = host
        self._limits = limits
        self._listed = listed
        self._version = version
        self._turn = asyncio.Lock()

    @property
    def facts(self) -> Facts:
        told = "its container shares this machine's network: list only builder images that you trust"
        return Facts("buildpacks", f"podman {self._version}", self._listed[0], (told,))

    async def build(self, job: BuildJob, log: LineSink) -> Built:
        """Pull the builder image and run its creator on a copy of the sources."""
        started = _now()
        project = await asyncio.to_thread(project_toml.read, job.context)
        reference = builder_of(job, project, self._listed)
        output = BoundedLog(log, head=self._limits.log_head, tail=self._limits.log_tail, masker=job.masker)
        steps = Steps(output, builder=str(self.facts))
        try:
            async with self._turn, self._bounded(output):
                image = await self._pulled(reference, job)
                plan = Plan(image, project, await asyncio.to_thread(_furnished, self._host, job, project))
                await asyncio.to_thread(_give, plan.mounts, image)
                await output.write("step", f"builder image {reference}@{image.digest}".encode())
                digest = await self._created(job, plan, output, steps)
        except BuildFailed as error:
            error.report = steps.report(failed=True)
            raise
        finally:
            await output.close()
        return Built(digest, {reference: plan.image.digest}, started, _now(), steps.report())

    async def sweep(self) -> None:
        """Containers, mounts and files of a killed worker."""
        await self._tidy()
        await buildah.sweep(self._host)

    async def collect(self, max_bytes: int) -> None:
        """Drop builder images and the buildpacks' caches when they hold more."""
        async with self._turn:
            if await asyncio.to_thread(usage, self._host.state) > max_bytes:
                argv = commands.prune_command(self._host)
                await run(orphan_proof(argv), timeout=PULL_LIMIT, env=_configuration(self._host), check=False)
                await asyncio.to_thread(shutil.rmtree, self._host.state / "caches", ignore_errors=True)

    async def close(self) -> None:
        """Nothing goes on behind a build."""

    async def _pulled(self, reference: str, job: BuildJob) -> BuilderImage:
        host = self._host
        plain = job.plain_http and reference.partition("/")[0] == job.repository.partition("/")[0]
        env = _configuration(host)
        argv = commands.pull_command(host, reference, plain_http=plain, authfile=job.authfile)
        done = await run(orphan_proof(argv), timeout=PULL_LIMIT, env=env, check=False, grace=GRACE)
        if done.returncode != 0:
            raise pulling.of_pull(reference, done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
        argv = commands.inspect_command(host, reference)
        done = await run(orphan_proof(argv), timeout=TIDY_LIMIT, env=env)
        return outcome.builder_image(reference, done.stdout)

    async def _created(self, job: BuildJob, plan: Plan, output: BoundedLog, steps: Steps) -> str:
        host = self._host
        argv = commands.creator_command(
            host, plan.image, job, plan.mounts, network="host", ordered=bool(plan.project.groups)
        )
        env = {**_configuration(host), "CNB_REGISTRY_AUTH": _registry_auth(job)}
        async with unless_stalled(output, self._limits.stall):
            code = await stream(orphan_proof(argv), steps.write, timeout=self._limits.seconds, env=env, grace=GRACE)
        if code != 0:
            memory = bool(host.sandbox.cgroup_parent) and host.cage.hit_memory_limit()
            raise outcome.of_creator(code, output.tail(), out_of_memory=memory)
        return outcome.digest_of(plan.mounts.report / "report.toml")

    @contextlib.asynccontextmanager
    async def _bounded(self, output: BoundedLog) -> AsyncIterator[None]:
        host, limits = self._host, self._limits
        host.prepare()
        try:
            if host.sandbox.cgroup_parent:
                host.cage.remove()
                host.cage.create(memory=limits.memory, cpus=limits.cpus, pids=limits.processes)
            async with buildah.watched(host, limits):
                yield
        except CommandTimeout:
            text = f"the build did not end within {limits.seconds:g} s\n{output.tail()}"
            raise BuildFailed(text, reason="build_timeout") from None
        except DiskLimit as error:
            raise BuildFailed(f"{error}\n{output.tail()}", reason="build_disk_full") from None
        finally:
            await asyncio.shield(self._tidy())

    async def _tidy(self) -> None:
        """podman's containers while podman can still be asked, then what is left of them by force."""
        host = self._host
        if host.store.root.exists():
            host.prepare()
            argv = commands.remove_command(host)
            done = await run(orphan_proof(argv), timeout=TIDY_LIMIT, env=_configuration(host), check=False)
            if done.returncode != 0:
                _log.warning("podman rm: %s", done.stderr[-500:].decode("utf-8", "replace"))
        await buildah.tidy(host)
        await asyncio.to_thread(shutil.rmtree, commands.runroot(host), ignore_errors=True)


def builder_of(job: BuildJob, project: project_toml.Project, listed: tuple[str, ...]) -> str:
    """The builder image for a job. Raises Refused for one that may not run here, and for sources that may not."""
    if not job.trusted:
        raise Refused("previews and forks are not built with Buildpacks", reason="buildpacks_untrusted")
    if job.secrets:
        text = "Buildpacks get no build secrets, for they may keep what they see: use a Dockerfile for these"
        raise Refused(text, reason="build_secrets_refused")
    if job.platforms:
        text = "Buildpacks build for the builder image's own platform: take build.platforms out"
        raise Refused(text, reason="platforms_not_available")
    asked = job.image or project.builder
    if asked and asked not in listed:
        known = ", ".join(listed)
        text = f"the builder image {asked[:200]!r} is not listed by ENCLII_BUILDPACKS_BUILDERS; known are {known}"
        raise Refused(text, reason="builder_image_not_listed")
    return asked or listed[0]


def variables(job: BuildJob, project: project_toml.Project) -> dict[str, str]:
    """What buildpacks get as their environment. Raises BuildFailed for what is no name."""
    found = {**project.env, **job.arguments}
    for name in found:
        if not name.isidentifier():
            raise BuildFailed(f"project.toml: {name[:80]!r} is no name of a variable", reason="bad_project_toml")
    return found


def _furnished(host: HostFacts, job: BuildJob, project: project_toml.Project) -> Mounts:
    """A copy of the sources that buildpacks may write to, the user's environment as files, a place for the report."""
    room = host.scratch / "buildpacks"
    mounts = Mounts(
        room / "app", room / "platform", room / "report", host.state / "caches" / token(job.repository)[:16]
    )
    shutil.copytree(job.context, mounts.app, symlinks=True)
    for file in sorted(mounts.app.rglob("*")):
        if (file.is_symlink() or not file.is_dir()) and not project.keeps(str(file.relative_to(mounts.app))):
            file.unlink()
    for folder in (mounts.platform / "env", mounts.report, mounts.cache):
        folder.mkdir(parents=True, exist_ok=True)
    for name, value in variables(job, project).items():
        (mounts.platform / "env" / name).write_text(value)
    if project.groups:
        (mounts.platform / "order.toml").write_text(project.order())
    return mounts


def _give(mounts: Mounts, image: BuilderImage) -> None:
    """Sources and report belong to the image's user, as which the lifecycle works: it leaves them as they are."""
    if os.geteuid() == 0:
        for place in (mounts.app, *mounts.app.rglob("*"), mounts.report):
            os.chown(place, image.uid, image.gid, follow_symlinks=False)


def _configuration(host: HostFacts) -> dict[str, str]:
    """podman's environment. Limits that are lower here than its own defaults cannot be raised, so they are said."""
    least = {name: min(usual, _hard(number)) for name, (number, usual) in _LIMITS.items()}
    told = ", ".join(f'"{name}={most}:{most}"' for name, most in least.items())
    _make_private(commands.runroot(host))
    text = (host.state / "containers.conf").read_text()
    file = host.state / "podman.conf"
    file.write_text(re.sub(r"default_ulimits = .*", f"default_ulimits = [{told}]", text))
    return {**host.environment, "CONTAINERS_CONF": str(file)}


def _make_private(folder: Path) -> None:
    """Raises Unavailable when somebody else was there first: the name can be guessed."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Unavailable(f"{folder} belongs to somebody else", reason="builder_unavailable")


def _hard(number: int) -> int:
    found = resource.getrlimit(number)[1]
    return found if found > 0 else 1 << 20


def _registry_auth(job: BuildJob) -> str:
    """Registry to Authorization header, as the lifecycle wants it."""
    accounts = json.loads(job.authfile.read_text())["auths"] if job.authfile else {}
    return json.dumps({host: f"Basic {account['auth']}" for host, account in accounts.items()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
