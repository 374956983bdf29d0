"""The cluster of one machine: every replica a podman pod, found again by its labels.

It remembers nothing that it cannot measure; each call starts from what exists, so a crash in the middle is harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops.clusters import (
    DeadLog,
    Exited,
    Finding,
    Health,
    Hint,
    LogLine,
    Observation,
    Printed,
    Replica,
    SecretStore,
    ServiceRef,
    Size,
    Told,
    Typed,
    Wanted,
    podman_exec,
    podman_host,
    podman_release,
    probe,
    subset,
)
from gitops.clusters import Workload as Shape
from gitops.clusters import podman_commands as commands
from gitops.clusters import podman_observe as seen
from gitops.clusters.podman_calls import PATIENCE, PLAY, QUICK, Calls, all_or_first_error, parsed
from gitops.clusters.podman_images import shed
from gitops.clusters.podman_logs import Follower, Reader
from gitops.clusters.podman_pull import pull
from gitops.clusters.podman_secrets import PodmanSecrets
from gitops.clusters.subset import Workload
from pipeline import process
from pipeline.errors import EncliiError, Permanent, Refused, Unavailable
from pipeline.previews import is_preview, repository_of
from pipeline.process import CommandFailed, CommandTimeout

if TYPE_CHECKING:
    from pipeline.registries import Registries

PORT_TRIES = 5
LAST_LINES = 200
TOLD_LINES = 20
DAY = 86_400.0

_Container = dict[str, Any]


class Podman:
    """A Cluster over podman's command line; ``instance`` keeps two installations on one machine apart."""

    rolls = False

    def __init__(
        self,
        *,
        instance: str,
        registry: str = "",
        containers_conf: Path | None = None,
        registries_conf: Path | None = None,
        registries: Registries | None = None,
    ) -> None:
        self._instance = instance
        self._registry = registry
        self._registries = registries
        self._env = podman_host.environment(containers_conf, registries_conf)
        self._calls = Calls(self._env)
        self._loops = seen.Loops()
        self._images: dict[str, tuple[str, ...]] = {}
        self._limits: bool | None = None

    async def check(self) -> list[Finding]:
        try:
            return podman_host.findings(await self._calls.read(commands.info(), "look at podman"))
        except EncliiError as error:
            return [Finding("error", "podman", error.message, "podman info; apt-get install podman")]

    def workload(self, wanted: Wanted) -> Shape:
        found = subset.translate(wanted)
        return Shape(found.replicas, found.port)

    def address(self, wanted: Wanted) -> None:
        """The front door gives it one."""

    async def drift(self, wanted: Wanted) -> tuple[str, ...]:
        return ()

    def secrets(self, namespace: str) -> SecretStore:
        return PodmanSecrets(self._calls, self._instance)

    async def start(self, wanted: Wanted) -> None:
        workload = subset.translate(wanted)
        async with all_or_first_error() as group:
            listed = group.create_task(self._list(wanted.ref))
            group.create_task(pull(self._calls, self._registries, wanted.image))
            group.create_task(self._ensure_network(wanted.ref))
            group.create_task(self._check_secrets(wanted, workload))
        limits = await self._limits_work() if workload.resources else False
        there = {int(self._label(item, "replica") or 0): item for item in listed.result() if self._is(item, wanted)}
        if workload.job is not None and not there:
            await podman_release.run_once(self._calls, self._instance, wanted, workload.job, limits=limits)
        async with all_or_first_error() as group:
            for number in range(workload.replicas):
                group.create_task(self._ensure_replica(wanted, workload, number, there.get(number), limits=limits))

    async def observe(self, ref: ServiceRef | None = None) -> list[Observation]:
        found = await self._inspect([item["Id"] for item in await self._list(ref)])
        if ref is None:
            self._loops.forget(frozenset(item["Id"] for item in found))
        replicas = await asyncio.gather(*(self._replica(item) for item in found))
        groups: dict[tuple[ServiceRef, str], list[Replica]] = defaultdict(list)
        for item, replica in zip(found, replicas, strict=True):
            labels = item["Config"]["Labels"]
            groups[commands.ref_of(labels), labels[commands.PREFIX + "deployment"]].append(replica)
        return [
            Observation(where, deployment, tuple(sorted(some, key=lambda one: one.number)))
            for (where, deployment), some in sorted(groups.items())
        ]

    async def healthy(self, wanted: Wanted) -> Health:
        workload = subset.translate(wanted)
        mine = [one for one in await self.observe(wanted.ref) if one.deployment == wanted.deployment]
        return seen.judge(wanted, workload, mine[0].replicas if mine else ())

    async def serving(self, wanted: Wanted) -> Health:
        return await self.healthy(wanted)

    async def close(self) -> None:
        return

    async def wait_healthy(
        self,
        wanted: Wanted,
        *,
        timeout: float,  # noqa: ASYNC109 - part of the protocol
        told: Told | None = None,
    ) -> None:
        end = time.monotonic() + timeout
        while True:
            health = await self.healthy(wanted)
            if health.status == "healthy":
                return
            if health.reason in ("crash_loop", "oom", "wrong_digest") or time.monotonic() >= end:
                raise Permanent(
                    f"{wanted.ref} {wanted.release} did not become healthy: {health.detail}"
                    + await self._last_words(wanted),
                    reason="unhealthy" if health.reason in (None, "starting") else health.reason,
                )
            await asyncio.sleep(0.2)

    async def stop(self, ref: ServiceRef, *, keep: frozenset[str], grace: float) -> list[DeadLog]:
        going = [item for item in await self._list(ref) if self._label(item, "deployment") not in keep]
        await self._end([item["Id"] for item in going if item["State"] in ("running", "stopping")], grace)
        logs = await asyncio.gather(*(self._drain(item) for item in going))
        pods = [
            pod["Name"]
            for pod in await self._calls.read(commands.pods(self._instance, ref), "list pods")
            if pod["Labels"].get(commands.PREFIX + "deployment") not in keep
        ]
        if pods:
            await self._calls.change(commands.pod_remove(pods), "remove pods")
        await self._remove_volumes([f"{pod}-" for pod in pods])
        return list(logs)

    async def remove(self, ref: ServiceRef, *, grace: float = 10.0) -> list[DeadLog]:
        logs = await self.stop(ref, keep=frozenset(), grace=grace)
        prefix = commands.service_prefix(self._instance, ref)
        names = await self._calls.names(commands.leftovers(), "list leftovers")
        left = [name for name in names if name.startswith(prefix)]
        if left:
            await self._calls.change(commands.remove(left), "remove leftovers")
        await self._remove_volumes((prefix,))
        await self._remove_network(ref)
        if is_preview(ref.environment):
            path = repository_of(ref.project, ref.service, ref.environment)
            await shed(self._calls, f"{self._registry or '*'}/{path}")
        return logs

    async def logs(
        self, ref: ServiceRef, *, follow: bool = False, tail: int | None = None, since: datetime | None = None
    ) -> AsyncIterator[LogLine]:
        async def listing() -> list[_Container]:
            return await self._list(ref)

        start = int(since.timestamp() * 1_000_000) * 1_000 if since else None
        follower = Follower(listing, self._env, start, tail)
        for line in await follower.snapshot():
            yield line
        if follow:
            async with contextlib.aclosing(follower.follow()) as lines:
                async for line in lines:
                    yield line

    def execute(
        self, ref: ServiceRef, command: Sequence[str], typed: AsyncIterator[Typed], *, replica: str = "",
        terminal: Size | None = None,
    ) -> AsyncIterator[Printed | Exited]:  # fmt: skip
        room = podman_exec.Room(self._list, ref, replica)
        return podman_exec.execute(room, command, typed, env=self._env, terminal=terminal)

    async def events(self) -> AsyncIterator[Hint]:
        queue: asyncio.Queue[Hint] = asyncio.Queue(maxsize=1_000)
        task = asyncio.create_task(self._watch(queue))
        try:
            while True:
                yield await queue.get()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- starting

    async def _check_secrets(self, wanted: Wanted, workload: Workload) -> None:
        """Podman would say only that a pod cannot be made."""
        used = (*workload.secrets, *(workload.job.pod.secrets if workload.job else ()))
        if not used:
            return
        prefix = commands.secret_prefix(self._instance, wanted.ref)
        stored = set(await self._calls.names(commands.secret_list(), "list secrets"))
        if missing := sorted({one.secret for one in used if prefix + one.secret not in stored}):
            raise Refused(f"the secret store of this machine has no {', '.join(missing)}", reason="secret_missing")

    async def _ensure_network(self, ref: ServiceRef) -> None:
        name = commands.network_name(self._instance, ref)
        if await self._calls.holds(commands.network_exists(name)):
            return
        try:
            await self._calls.run(commands.network_create(self._instance, ref), "create the network")
        except EncliiError:
            if not await self._calls.holds(commands.network_exists(name)):  # else another start was faster
                raise

    async def _ensure_replica(
        self, wanted: Wanted, workload: Workload, number: int, there: _Container | None, *, limits: bool
    ) -> None:
        if there and there["State"] == "running":
            return
        if there and there["State"] in ("exited", "stopped") and await self._calls.holds(commands.start(there["Id"])):
            return
        name = commands.pod_name(self._instance, wanted.ref, wanted.deployment, number)
        if there:
            await self._clear(name, workload.container)
        for attempt in range(PORT_TRIES):
            try:
                await self._play(wanted, workload, number, name, limits=limits)
            except CommandFailed as error:
                await self._clear(name, workload.container)
                again = commands.port_taken(error) or commands.name_taken(error)
                if not again or attempt == PORT_TRIES - 1:
                    raise commands.fault(error, f"start {wanted.ref} {wanted.release}") from error
            except CommandTimeout as error:
                raise commands.fault(error, f"start {wanted.ref} {wanted.release}") from error
            else:
                return

    async def _play(self, wanted: Wanted, workload: Workload, number: int, name: str, *, limits: bool) -> None:
        documents = subset.manifests(
            workload,
            name=name,
            labels=commands.labels(self._instance, wanted, workload, number),
            host_ports=dict(zip(workload.ports, podman_host.free_ports(len(workload.ports)), strict=True)),
            limits=limits,
            secret_prefix=commands.secret_prefix(self._instance, wanted.ref),
        )
        argv = commands.play(commands.network_name(self._instance, wanted.ref), wanted.ref.service)
        text = "\n---\n".join(json.dumps(document) for document in documents)
        await process.run(argv, stdin=text.encode(), timeout=PLAY, env=self._env, patience=PATIENCE)

    async def _clear(self, name: str, container: str) -> None:
        """A play that was killed leaves a pod that never ran, or a container that only the storage knows."""
        await self._calls.change(commands.pod_remove([name]), "clear a pod")
        await self._calls.change(commands.remove([f"{name}-{container}"]), "clear a container")

    async def _limits_work(self) -> bool:
        if self._limits is None:
            self._limits = podman_host.limits_work(await self._calls.read(commands.info(), "look at podman"))
        return self._limits

    # -- looking

    async def _replica(self, item: _Container) -> Replica:
        restarts, state = int(item.get("RestartCount") or 0), item["State"]
        looping = self._loops.looping(item["Id"], restarts, time.monotonic())
        state["ExitCode"] = self._loops.exit_code(item["Id"], int(state.get("ExitCode") or 0), looping=looping)
        if looping and seen.running(item):
            with contextlib.suppress(EncliiError):
                await self._end([item["Id"]], 1.0)
        where = seen.address(item)
        health = item["Config"]["Labels"].get(commands.PREFIX + "health") or None
        answer = await probe.ask(where, health) if where and seen.running(item) and not looping else None
        digests = await self._repo_digests(item)
        return seen.replica(item, repo_digests=digests, answer=answer, looping=looping, now=seen.now())

    async def _repo_digests(self, item: _Container) -> tuple[str, ...]:
        """Kept by image while the asked digest is in it: what an image is known by only grows by a pull."""
        known = self._images.get(item["Image"], ())
        asked = str(item["Config"]["Labels"].get(commands.PREFIX + "image", "")).rpartition("@")[2]
        if any(name.endswith(asked) for name in known):
            return known
        try:
            found = await self._calls.read(commands.inspect_image(item["Image"]), "inspect an image")
        except Unavailable as error:
            if error.reason in ("podman_hangs", "podman_missing"):
                raise
            return ()
        self._images[item["Image"]] = tuple(found[0].get("RepoDigests") or ())
        return self._images[item["Image"]]

    async def _list(self, ref: ServiceRef | None) -> list[_Container]:
        found: list[_Container] = await self._calls.read(commands.containers(self._instance, ref), "list containers")
        return [item for item in found if self._label(item, "deployment")]

    async def _inspect(self, ids: Sequence[str]) -> list[_Container]:
        """All of them; a container that vanished since it was listed is left out, not an error."""
        if not ids:
            return []
        try:
            done = await process.run(commands.inspect(ids), timeout=QUICK, env=self._env, check=False)
        except (CommandFailed, CommandTimeout) as error:
            raise commands.fault(error, "inspect containers") from error
        found: list[_Container] = parsed(done.stdout, "inspect containers") if done.stdout.strip() else []
        return found

    async def _last_words(self, wanted: Wanted) -> str:
        mine = [item for item in await self._list(wanted.ref) if self._is(item, wanted)]
        logs = await asyncio.gather(*(self._drain(item) for item in mine))
        lines = sorted((line for log in logs for line in log.lines), key=lambda line: line.time)[-TOLD_LINES:]
        return "".join(f"\n  {line.text.decode('utf-8', 'replace')[:300]}" for line in lines)

    async def _watch(self, queue: asyncio.Queue[Hint]) -> None:
        """Reopened when it ends; podman replays old events when its file rotates, which are dropped here."""
        last = time.time_ns()

        async def take(stream: str, raw: bytes) -> None:
            nonlocal last
            hint = seen.hint(raw) if stream == "stdout" else None
            if hint and hint.time > last:
                last = hint.time
                await queue.put(hint)

        while True:
            with contextlib.suppress(CommandFailed, CommandTimeout):
                argv = process.orphan_proof(commands.events(self._instance))
                await process.stream(argv, take, timeout=DAY, env=self._env, grace=0.5)
            await asyncio.sleep(1.0)

    # -- ending

    async def _end(self, ids: Sequence[str], grace: float) -> None:
        if ids:
            await self._calls.let_go(commands.stop(ids, grace), "stop containers", timeout=grace + QUICK)

    async def _drain(self, item: _Container) -> DeadLog:
        name, release = self._label(item, "pod"), self._label(item, "release")
        lines: list[LogLine] = []
        with contextlib.suppress(CommandFailed, CommandTimeout):
            lines = await Reader(item["Id"], name, release, self._env).read(tail=LAST_LINES)
        state = await self._inspect([item["Id"]])
        code = state[0]["State"].get("ExitCode") if state and not seen.running(state[0]) else None
        return DeadLog(
            commands.ref_of(item["Labels"]), self._label(item, "deployment"), name, release, code, tuple(lines)
        )

    async def _remove_volumes(self, prefixes: Sequence[str]) -> None:
        if not prefixes:
            return
        names = await self._calls.names(commands.volumes(), "list volumes")
        mine = [name for name in names if name.startswith(tuple(prefixes))]
        if mine:
            await self._calls.run(commands.volume_remove(mine), "remove volumes")

    async def _remove_network(self, ref: ServiceRef) -> None:
        """Podman refuses while another service of the environment is on it, and that is what we want."""
        name = commands.network_name(self._instance, ref)
        with contextlib.suppress(CommandFailed):
            await process.run(commands.network_remove(name), timeout=QUICK, env=self._env)

    @staticmethod
    def _label(item: Mapping[str, Any], key: str) -> str:
        return str((item.get("Labels") or {}).get(commands.PREFIX + key, ""))

    def _is(self, item: Mapping[str, Any], wanted: Wanted) -> bool:
        return self._label(item, "deployment") == wanted.deployment
