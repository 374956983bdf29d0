"""The cluster that is a Kubernetes: server-side apply, watches, logs.

A rollout replaces the old pods one by one as the new ones become ready. One that cannot become healthy keeps the old
pods and is left as git wants it: nothing is ever put back here, since git is the only desired state.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from gitops.clusters import (
    AWAY,
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
    Workload,
    kube_export,
    kube_images,
    kube_plan,
)
from gitops.clusters import kube_rollout as rollout
from gitops.clusters.kube_api import Api, Login
from gitops.clusters.kube_apply import Applier
from gitops.clusters.kube_exec import execute
from gitops.clusters.kube_jobs import ReleaseJobs
from gitops.clusters.kube_kinds import KNOWN, Kinds
from gitops.clusters.kube_last_words import LastWords
from gitops.clusters.kube_logs import Follower
from gitops.clusters.kube_namespaces import Previews
from gitops.clusters.kube_objects import PREFIX, Deployment
from gitops.clusters.kube_secrets import KubeSecrets
from gitops.clusters.kube_view import View
from pipeline.errors import EncliiError, Permanent, Refused, Unavailable

RECHECK = 5.0
GONE_LIMIT = 40.0
UNMADE = frozenset({"not_applied", "missing_replicas"})
DEAD = frozenset({"crash_loop", "oom", "pod_failed"})

Members = Callable[[str], Awaitable[frozenset[str]]]
"""The digests that an image's index holds, by its reference; itself alone when it is no index."""


class Kubernetes:
    """A Cluster over one Kubernetes; ``instance`` keeps two installations on one cluster apart."""

    rolls = True
    applies = True  # what is missing is made by ``start`` alone

    def __init__(
        self,
        access: Login,
        *,
        instance: str,
        pod_security: Literal["restricted", "baseline", "privileged"] = "restricted",
        members: Members | None = None,
    ) -> None:
        self.api = Api(access)
        self._instance = instance
        self._view = View(self.api, instance=instance)
        self._members = members
        self._previews = Previews(self.api, instance)
        self._indexes: dict[str, frozenset[str]] = {}
        self._wanted: dict[ServiceRef, Wanted] = {}
        self._served: dict[ServiceRef, Wanted] = {}
        self._words = LastWords(self.api, self._view, self._id_of)
        self._applier = Applier(
            self.api, Kinds(self.api), instance=instance, pod_security=pod_security, look=self._view.look,
            inventory=self._view.inventory, wrote=self._view.wrote, there=self._view.deployment,
            jobs=ReleaseJobs(self.api, self._view, self._words.of_pod).finished,
        )  # fmt: skip

    async def close(self) -> None:
        await self._view.close()
        await self.api.close()

    async def check(self) -> list[Finding]:
        try:
            found = msgspec.json.decode(await self.api.get("/version", doing="look at the cluster"))
            await self._view.ready()
        except EncliiError as error:
            return [Finding("error", "kubernetes", error.message)]
        return [Finding("ok", "kubernetes", f"Kubernetes {found.get('gitVersion', '')} answers")]

    def workload(self, wanted: Wanted) -> Workload:
        return kube_plan.workload(wanted)

    def address(self, wanted: Wanted) -> str | None:
        return kube_plan.address(wanted)

    def secrets(self, namespace: str) -> SecretStore:
        return KubeSecrets(self.api, namespace, self._instance, self._applier.make_namespace)

    async def start(self, wanted: Wanted) -> None:
        await self._view.ready()
        self._know(wanted)
        await self._applier.apply(wanted)

    def _know(self, wanted: Wanted) -> None:
        self._wanted[wanted.ref] = wanted
        self._view.homes[wanted.ref] = kube_plan.namespace_of(wanted)
        self._previews.begun(wanted.ref)

    async def drift(self, wanted: Wanted) -> tuple[str, ...]:
        await self._view.ready()
        inventory = self._view.inventory(wanted.ref)
        if inventory is None and (there := self._view.deployment(wanted.ref)) is not None:
            return await self._applier.lost(wanted, there)
        if inventory is None or inventory.deployment != wanted.deployment:
            return ()
        return tuple(str(one) for one in await self._applier.drift(inventory))

    async def manifest(self, namespace: str, name: str) -> dict[str, Any]:
        """A Deployment that runs, as it would be written by hand. Raises NotFound, Refused, Unavailable."""
        path = KNOWN["apps/v1", "Deployment"].object(namespace, name)
        found = msgspec.json.decode(await self.api.get(path, doing=f"look at {namespace}/{name}"))
        labels = (found.get("metadata") or {}).get("labels") or {}
        if PREFIX + "instance" in labels:
            raise Refused(f"{namespace}/{name} is Enclii's already", reason="already_managed")
        return kube_export.manifest(found)

    async def difference(self, wanted: Wanted) -> tuple[str, ...]:
        """What an apply would change, by the server's own dry run."""
        await self._view.ready()
        return await self._applier.difference(wanted)

    async def observe(self, ref: ServiceRef | None = None) -> list[Observation]:
        await self._view.ready()
        refs = sorted(self._view.refs()) if ref is None else [ref]
        found: list[Observation] = []
        for one in refs:
            found += await self._observed(one)
        return found

    async def healthy(self, wanted: Wanted) -> Health:
        """Unknown while the cluster is away: what was seen before proves nothing about now."""
        self._know(wanted)
        try:
            await self._view.ready()
            current = self._view.seen(wanted.ref).get("")
            if current is None or current.deployment.metadata.namespace != kube_plan.namespace_of(wanted):
                return Health("unhealthy", "missing_replicas", f"0 of {self.workload(wanted).replicas} replicas exist")
            if self._id_of(current.deployment) != wanted.deployment:
                return Health("unhealthy", "not_applied", "the cluster still has another deployment")
            replicas = await self._replicas(current, wanted.image)
        except Unavailable as error:
            return Health("unknown", error.reason, error.message)
        return rollout.judge(current, replicas, wanted.digest, now=rollout.now())

    async def serving(self, wanted: Wanted) -> Health:
        """The pods of an older ReplicaSet are left to serve until the new ones are ready."""
        await self._view.ready()
        self._served[wanted.ref] = wanted
        for name, seen in self._view.seen(wanted.ref).items():
            if name and self._set_id(name, seen) == wanted.deployment:
                here = [one for one in await self._replicas(seen, wanted.image) if one.state == "ready"]
                if len(here) >= self.workload(wanted).replicas:
                    return Health("healthy")
                return Health("unhealthy", "missing_replicas", f"{len(here)} replicas are left")
        return await self.healthy(wanted)

    async def wait_healthy(
        self,
        wanted: Wanted,
        *,
        timeout: float,  # noqa: ASYNC109 - part of the protocol
        told: Told | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        before = Health("unknown", "starting")
        while True:
            moved = self._view.moved(wanted.ref)
            health = await self.healthy(wanted)
            if health.status == "healthy":
                return
            if self.applies and health.reason in UNMADE:
                raise Unavailable(f"{wanted.ref}: {health.detail}", reason="changed_meanwhile", delay=1.0)
            if told is not None and (health.status, health.reason) != (before.status, before.reason):
                await told(await self._with_lines(wanted, health))
            before = health
            if (left := end - loop.time()) <= 0:
                raise await self._given_up(wanted, health)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, RECHECK)):
                    await moved.wait()

    async def stop(self, ref: ServiceRef, *, keep: frozenset[str], grace: float) -> list[DeadLog]:
        """The rollout has replaced the old pods already, and one that failed stays: only words are collected here.

        What an environment that moved left in its old namespace goes, once it runs in the new one.
        """
        await self._view.ready()
        await self._leave(ref, keep)
        found = self._view.seen(ref)
        going = [seen for name, seen in found.items() if self._set_id(name, seen) not in keep]
        pods = [pod for seen in going for pod in seen.pods if not rollout.ready(pod)]
        return list(await asyncio.gather(*(self._words.of_pod(ref, pod) for pod in pods)))

    async def remove(self, ref: ServiceRef, *, grace: float = 10.0) -> list[DeadLog]:
        await self._view.ready()
        self._wanted.pop(ref, None)
        inventories = self._view.inventories_of(ref)
        if not inventories and (there := self._view.deployment(ref)) is not None:
            inventories = [await self._applier.found_again(ref, there.metadata.namespace)]
        if not inventories:
            await self._previews.end(ref)
            return []
        logs = await asyncio.gather(*(self._words.of_pod(ref, pod) for pod in self._view.pods(ref)))
        for inventory in inventories:
            await self._applier.remove(inventory)
        await self._gone(ref, grace + GONE_LIMIT)
        await self._previews.end(ref)
        return list(logs)

    async def _leave(self, ref: ServiceRef, keep: frozenset[str]) -> None:
        wanted, home = self._wanted.get(ref), self._view.homes.get(ref)
        old = [one for one in self._view.inventories_of(ref) if one.namespace != home]
        if old and wanted and wanted.deployment in keep and (await self.healthy(wanted)).status == "healthy":
            for one in old:
                await self._applier.remove(one)

    async def _gone(self, ref: ServiceRef, limit: float) -> None:
        """Wait for the cluster to have ended the pods. Raises Unavailable when it takes too long."""
        try:
            async with asyncio.timeout(limit):
                while True:
                    moved = self._view.moved(ref)
                    if self._view.gone(ref):
                        return
                    await moved.wait()
        except TimeoutError as error:
            raise Unavailable(f"{ref} is still ending", reason="still_ending", delay=5.0) from error

    async def logs(
        self,
        ref: ServiceRef,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        previous: bool = False,
    ) -> AsyncIterator[LogLine]:
        await self._view.ready()
        start = int(since.timestamp() * 1_000_000) * 1_000 if since else None
        follower = Follower(
            self.api, lambda: self._view.pods(ref), lambda: self._view.moved(ref), since=start, tail=tail
        )
        for line in await follower.snapshot(previous=previous):
            yield line
        if follow and not previous:
            async with contextlib.aclosing(follower.follow()) as lines:
                async for line in lines:
                    yield line

    async def execute(
        self, ref: ServiceRef, command: Sequence[str], typed: AsyncIterator[Typed], *, replica: str = "",
        terminal: Size | None = None,
    ) -> AsyncIterator[Printed | Exited]:  # fmt: skip
        await self._view.ready()
        image = self._wanted[ref].image if ref in self._wanted else ""
        pod, container = rollout.chosen(self._view.seen(ref), ref, replica, image)
        running = execute(self.api, pod, container, command, typed, terminal=terminal)
        async with contextlib.aclosing(running) as printed:
            async for one in printed:
                yield one

    async def events(self) -> AsyncIterator[Hint]:
        while True:
            try:
                await self._view.ready()
                break
            except EncliiError:
                await asyncio.sleep(1.0)
        async with contextlib.aclosing(self._view.hints()) as hints:  # type: ignore[type-var]
            async for hint in hints:
                yield hint

    # -- looking

    async def _observed(self, ref: ServiceRef) -> list[Observation]:
        found = []
        for name, seen in sorted(self._view.seen(ref).items()):
            if not name or seen.pods:
                image = self._wanted[ref].image if ref in self._wanted else ""
                replicas = await self._replicas(seen, image)
                found.append(Observation(ref, self._set_id(name, seen), replicas))
        return found

    async def _replicas(self, seen: rollout.Seen, image: str) -> tuple[Replica, ...]:
        container = rollout.main_container(seen.deployment, image)
        members, now = await self._members_of(image, seen), rollout.now()
        alive = [pod for pod in seen.pods if not pod.metadata.deletion_timestamp]
        return tuple(
            rollout.replica(
                pod, number=number, container=container, warned=seen.warned.get(pod.metadata.uid), now=now,
                members=members,
            )
            for number, pod in enumerate(alive)
        )  # fmt: skip

    async def _members_of(self, image: str, seen: rollout.Seen) -> frozenset[str]:
        """Some runtimes report the platform's own digest where an index was asked for. Raises Unavailable."""
        digest = image.rpartition("@")[2]
        if not image or self._members is None or not rollout.another_digest(seen.pods, digest):
            return frozenset({digest})
        if image not in self._indexes:
            try:
                self._indexes[image] = frozenset({digest}) | await self._members(image)
            except EncliiError as error:  # a registry that is away makes no digest wrong
                why = f"what {image} holds cannot be read: {error.message}"
                raise Unavailable(why, reason="index_unreadable", delay=10.0) from error
        return self._indexes[image]

    def _id_of(self, deployment: Deployment) -> str:
        """Which deployment the cluster has: as our apply wrote it, else by release and image."""
        written = deployment.metadata.annotations.get(PREFIX + "deployment")
        if written:
            return written
        ref = kube_plan.ref_of(deployment.metadata.labels)
        wanted = self._wanted.get(ref) if ref else None
        release = deployment.metadata.annotations.get(PREFIX + "release", "").rpartition(".")[2]
        if wanted and kube_images.deployed(wanted, deployment) and release in ("", wanted.release):
            return wanted.deployment
        return ""

    def _set_id(self, name: str, seen: rollout.Seen) -> str:
        """As our apply wrote it; what another tool applied is known by the image of what is asked about."""
        if not name:
            return self._id_of(seen.deployment)
        found, served = self._view.set_named(seen.ref, name), self._served.get(seen.ref)
        written = found.metadata.annotations.get(PREFIX + "deployment", "") if found else ""
        if not written and served and all(kube_images.runs(served, pod.spec.containers) for pod in seen.pods):
            return served.deployment
        return written or name

    # -- last words

    async def _with_lines(self, wanted: Wanted, health: Health) -> Health:
        if health.status != "unhealthy" or health.reason not in DEAD:
            return health
        return Health(health.status, health.reason, health.detail, tuple(await self._words.of_service(wanted.ref)))

    async def _given_up(self, wanted: Wanted, health: Health) -> EncliiError:
        if health.reason in AWAY:
            return Unavailable(f"{wanted.ref}: {health.detail}", reason=health.reason, delay=2.0)
        words = "".join(f"\n  {text[:300]}" for text in await self._words.of_service(wanted.ref))
        reason = "unhealthy" if health.reason in (None, "starting") else health.reason
        return Permanent(f"{wanted.ref} {wanted.release} did not become healthy: {health.detail}{words}", reason=reason)
