"""All that one cluster has of ours, by watches: answers come from memory, and whoever waits is woken by a change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any

import msgspec

from gitops.clusters import Hint, ServiceRef
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_apply import inventory_of
from gitops.clusters.kube_cache import WATCH_SECONDS, Cache
from gitops.clusters.kube_follow import Followed, Found
from gitops.clusters.kube_kinds import KNOWN, Kind
from gitops.clusters.kube_objects import PREFIX, REVISION, ConfigMap, Deployment, Event, Object, Pod, ReplicaSet
from gitops.clusters.kube_plan import Inventory, ref_of, service_labels
from gitops.clusters.kube_rollout import Seen, Warned, remembered
from pipeline.errors import EncliiError, Unavailable

LIST_LIMIT = 30.0
PULSE_EVERY = 10.0
PULSE_LIMIT = 5.0
HINTS = 10_000
WARNINGS = 10_000
# Warnings, and that a container is ended because of a probe, which is not one; without what every pod's start says.
TOLD_EVENTS = "involvedObject.kind=Pod," + ",".join(
    f"reason!={one}" for one in ("Scheduled", "Pulling", "Pulled", "Created", "Started", "BackOff")
)
OURS = PREFIX + "service"


class View:
    """The watches of one cluster. ``start`` opens them, ``close`` ends them."""

    def __init__(self, api: Api, *, instance: str) -> None:
        self._api = api
        self._instance = instance
        self._tasks: list[asyncio.Task[None]] = []
        self._moved: dict[ServiceRef, asyncio.Event] = {}
        self._hints: set[asyncio.Queue[Hint]] = set()
        self._pods_of: dict[ServiceRef, dict[str, Pod]] = defaultdict(dict)
        self._sets_of: dict[ServiceRef, dict[str, ReplicaSet]] = defaultdict(dict)
        self._deployments_of: dict[ServiceRef, dict[str, Deployment]] = defaultdict(dict)
        self._inventories: dict[ServiceRef, dict[str, Inventory]] = defaultdict(dict)
        self.homes: dict[ServiceRef, str] = {}
        """The namespace that each service is wanted in: while it moves, it is in two."""
        self._followed: dict[ServiceRef, Followed] = {}
        self._following = asyncio.Lock()
        self._warned: dict[str, Warned] = {}
        self._metadata: dict[Kind, Cache[Object]] = {}
        self._pulse = True
        self.deployments = self._cache("apps/v1", "Deployment", Deployment, self._deployment)
        self._sets = self._cache("apps/v1", "ReplicaSet", ReplicaSet, self._set, keep=_has_pods)
        self._pods = self._cache("v1", "Pod", Pod, self._pod)
        mine = f"{PREFIX}inventory,{PREFIX}instance={instance}"
        self.inventories = self._cache("v1", "ConfigMap", ConfigMap, self._inventory, selector=mine)
        # The server keeps events out of its watch cache and sends no bookmarks for them: silence says nothing.
        self._events: Cache[Event] = Cache(
            api,
            "/api/v1/events",
            Event,
            _untold,
            quiet=WATCH_SECONDS + 30.0,
            fields=TOLD_EVENTS,
            keep=self._warning,
        )

    def _cache(self, group: str, kind: str, shape: Any, changed: Any, *, selector: str = OURS, **more: Any) -> Any:
        return Cache(self._api, KNOWN[group, kind].collection(), shape, changed, selector=selector, **more)

    async def ready(self) -> None:
        """Open the watches at the first call, and return once everything was listed. Raises Unavailable."""
        caches = (self.deployments, self._sets, self._pods, self.inventories, self._events)
        if not self._tasks:
            for cache in caches:
                self._run(cache)
            self._tasks.append(asyncio.create_task(self._beat()))
        for cache in caches:
            await self._listed(cache)
        if problem := self.problem():
            raise problem

    def problem(self) -> EncliiError | None:
        """Why what is known may be old; None while the cluster answers."""
        for cache in (self.deployments, self._sets, self._pods, self.inventories):
            if not cache.fresh:
                return cache.problem or Unavailable("the cluster does not answer", reason="cluster_away", delay=2.0)
        if not self._pulse:
            return Unavailable("the cluster does not answer in time", reason="cluster_away", delay=2.0)
        return None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for ref in list(self._followed):
            await self.unfollow(ref)

    async def follow(self, ref: ServiceRef, there: Found) -> None:
        """Watch a Deployment without Enclii's labels as the service's. Raises Unavailable."""
        async with self._following:  # one that ends takes away what it knew, so the next one begins after that
            known = self._followed.get(ref)
            if known is None or not known.same(there):
                await self.unfollow(ref)
                told = (self._deployment, self._set, self._pod)
                wake = partial(self._wake, ref, "")
                known = self._followed[ref] = Followed(self._api, there, service_labels(ref), told, wake)
        await known.ready()
        known.deployments.put(there.deployment)

    async def unfollow(self, ref: ServiceRef) -> None:
        """Watch it no longer, and know nothing of it."""
        known = self._followed.pop(ref, None)
        if known is not None:
            await known.end()

    def followed(self, ref: ServiceRef) -> Followed | None:
        return self._followed.get(ref)

    # -- reading

    def refs(self) -> set[ServiceRef]:
        return {ref for ref, found in self._deployments_of.items() if found}

    def pods(self, ref: ServiceRef) -> list[Pod]:
        """The service's pods, oldest first, those of other installations left out."""
        found = self._pods_of.get(ref, {}).values()
        return sorted(found, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name))

    def deployment(self, ref: ServiceRef) -> Deployment | None:
        """The Deployment of a service, unless it is another installation's; of two the one where it is wanted."""
        found = [
            one
            for one in self._deployments_of.get(ref, {}).values()
            if one.metadata.labels.get(PREFIX + "instance", self._instance) == self._instance
        ]
        home = self.homes.get(ref)
        return min(found, key=lambda one: one.metadata.namespace != home, default=None)

    def gone(self, ref: ServiceRef) -> bool:
        """Whether nothing of the service exists any more."""
        return not any(ref in index for index in (self._deployments_of, self._sets_of, self._pods_of))

    def inventory(self, ref: ServiceRef) -> Inventory | None:
        """What was applied where the service is wanted, else what was applied of it anywhere."""
        known = self._inventories.get(ref, {})
        return known.get(self.homes.get(ref, "")) or next(iter(known.values()), None)

    def inventories_of(self, ref: ServiceRef) -> list[Inventory]:
        """What was applied of it, in every namespace."""
        return list(self._inventories.get(ref, {}).values())

    def seen(self, ref: ServiceRef) -> dict[str, Seen]:
        """What exists, by the name of the ReplicaSet that has it; the current one is under ``""``."""
        deployment = self.deployment(ref)
        if deployment is None:
            return {}
        home = deployment.metadata.namespace
        sets = [
            one
            for one in self._sets_of.get(ref, {}).values()
            if one.metadata.owner == deployment.metadata.name and one.metadata.namespace == home
        ]
        revision = deployment.metadata.annotations.get(REVISION, "")
        current = {one.metadata.name for one in sets if one.metadata.annotations.get(REVISION, "") == revision}
        groups: dict[str, list[Pod]] = {"": []}
        names = {one.metadata.name for one in sets}
        for pod in self.pods(ref):
            owner = pod.metadata.owner
            if owner in names and pod.metadata.namespace == home:
                groups.setdefault("" if owner in current else owner, []).append(pod)
        return {name: Seen(ref, deployment, pods, self._warned) for name, pods in groups.items()}

    def set_named(self, ref: ServiceRef, name: str) -> ReplicaSet | None:
        return next((one for one in self._sets_of.get(ref, {}).values() if one.metadata.name == name), None)

    def moved(self, ref: ServiceRef) -> asyncio.Event:
        """An event that is set when anything of the service changes after this call."""
        return self._moved.setdefault(ref, asyncio.Event())

    async def hints(self) -> AsyncIterator[Hint]:
        queue: asyncio.Queue[Hint] = asyncio.Queue(HINTS)
        self._hints.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._hints.discard(queue)

    async def look(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """An object's metadata from the watches; a kind's watch is opened when it is first asked for."""
        if kind.kind == "Deployment":
            deployment: Object | None = self.deployments.get(namespace, name)
            return deployment
        if kind not in self._metadata:
            selector = f"{PREFIX}instance={self._instance}"
            cache = Cache(self._api, kind.collection(), Object, self._other, selector=selector, metadata_only=True)
            self._metadata[kind] = cache
            self._run(cache)
        await self._listed(self._metadata[kind])
        return self._metadata[kind].get(namespace, name)

    def wrote(self, kind: Kind, data: bytes) -> None:
        """Take in what an own write answered."""
        if kind.kind == "Deployment":
            self.deployments.put(msgspec.json.decode(data, type=Deployment))
        elif kind.kind == "ConfigMap" and (found := msgspec.json.decode(data, type=ConfigMap)).metadata.labels.get(
            PREFIX + "inventory"
        ):
            self.inventories.put(found)
        if kind in self._metadata:
            self._metadata[kind].put(msgspec.json.decode(data, type=Object))

    # -- hearing

    def _run(self, cache: Cache[Any]) -> None:
        cache.turned = self._all_moved
        self._tasks.append(asyncio.create_task(cache.run()))

    async def _listed(self, cache: Cache[Any]) -> None:
        try:
            async with asyncio.timeout(LIST_LIMIT):
                while not cache.listed.is_set():
                    if cache.problem is not None:
                        raise cache.problem
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await cache.listed.wait()
        except TimeoutError as error:
            raise Unavailable("the cluster is slow to list", reason="cluster_away", delay=2.0) from error

    async def _beat(self) -> None:
        """A server that hangs keeps its connections open: ask for the smallest answer there is."""
        while True:
            await asyncio.sleep(PULSE_EVERY)
            before = self._pulse
            try:
                await self._api.call("GET", "/version", doing="look at the cluster", timeout=PULSE_LIMIT)
                self._pulse = True
            except EncliiError:
                self._pulse = False
            if before != self._pulse:
                self._all_moved()

    def _deployment(self, old: Deployment | None, new: Deployment | None) -> None:
        self._file(self._deployments_of, old, new)

    def _set(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        self._file(self._sets_of, old, new)

    def _pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            self._warned.pop(old.metadata.uid, None)
        self._file(self._pods_of, old, new)

    def _inventory(self, old: ConfigMap | None, new: ConfigMap | None) -> None:
        if new is None and old is not None:
            before = inventory_of(old)
            if before is not None and self._inventories[before.ref].get(before.namespace) == before:
                del self._inventories[before.ref][before.namespace]
                self._wake(before.ref, before.deployment)
        elif new is not None and (found := inventory_of(new)) is not None:
            self._inventories[found.ref][found.namespace] = found

    def _other(self, old: Object | None, new: Object | None) -> None:
        self._say((old, new))

    def _warning(self, event: Event) -> bool:
        """What the last events say about each pod is remembered, the event itself is not."""
        about = event.involved_object
        before = self._warned.get(about.uid)
        if (now := remembered(before, event.reason, event.message)) == (before or Warned("", "")):
            return False
        if len(self._warned) >= WARNINGS and about.uid not in self._warned:
            self._warned.pop(next(iter(self._warned)))
        self._warned[about.uid] = now
        for pods in (self._pods, *(one.pods for one in self._followed.values())):
            pod = pods.get(about.namespace, about.name)
            if pod is not None:
                self._say((pod,))
        return False

    def _file(self, index: Any, old: Any, new: Any) -> None:
        for item in (old, new):
            ref = ref_of(item.metadata.labels) if item is not None else None
            if ref is None:
                continue
            key = item.metadata.uid if isinstance(item, Pod) else "/".join(item.metadata.key)
            if item is new:
                index[ref][key] = item
            elif new is None:
                left = index.get(ref, {})
                left.pop(key, None)
                if not left:
                    index.pop(ref, None)
        self._say((old, new))

    def _say(self, items: Iterable[Any]) -> None:
        for ref in {ref_of(item.metadata.labels) for item in items if item is not None} - {None}:
            assert ref is not None
            deployment = self._deployments_of.get(ref, {})
            known = next((one.metadata.annotations.get(PREFIX + "deployment", "") for one in deployment.values()), "")
            self._wake(ref, known)

    def wake(self, ref: ServiceRef) -> None:
        """Something else that says whether the service is live has changed."""
        self._wake(ref, "")

    def _wake(self, ref: ServiceRef, deployment: str) -> None:
        event = self._moved.pop(ref, None)
        if event is not None:
            event.set()
        hint = Hint(time.time_ns(), "changed", ref, deployment)
        for queue in self._hints:
            if not queue.full():
                queue.put_nowait(hint)

    def _all_moved(self) -> None:
        for ref in {*self._moved, *self.refs()}:
            self._wake(ref, "")


def _untold(_: Event | None, __: Event | None) -> None:
    return


def _has_pods(found: ReplicaSet) -> bool:
    return found.spec.replicas > 0 or found.status.replicas > 0
