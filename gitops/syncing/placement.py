"""Which cluster each environment is on, in which namespace, and what drift means there, as ``project.yaml`` says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import msgspec

from gitops.binding import namespace_of, reserved
from gitops.clusters import AWAY, Cluster, Finding, Hint, SecretStore, ServiceRef, Wanted
from gitops.clusters.configured import PODMAN
from pipeline.bus import Bus
from pipeline.errors import EncliiError, Refused, Unavailable
from pipeline.guard import Guard, unguarded
from pipeline.previews import SCOPE, is_preview
from pipeline.records import Environment, Project
from pipeline.store import Store

HINTS = 10_000

PLACELESS = frozenset({"unknown_cluster", "reserved_namespace"})
"""The reasons for which a service has no cluster, so that nothing of it can run or be looked at."""

Open = Callable[[], Cluster]


@runtime_checkable
class Exporting(Protocol):
    """A cluster whose objects can be read back as manifests."""

    async def manifest(self, namespace: str, name: str) -> dict[str, Any]:
        """One Deployment."""
        ...


@dataclass
class Clusters:
    """The clusters by name, each opened when a service first needs it; ``default`` where an environment names none."""

    default: str
    load: Callable[[], Mapping[str, Open]]
    """Reads which clusters are known; asked again for a name that is not."""
    guard: Guard = unguarded
    """Raises once another syncer may lead."""
    _open: dict[str, Cluster] = field(default_factory=dict)
    _environments: dict[tuple[str, str], Environment] = field(default_factory=dict)
    _previews: dict[str, str] = field(default_factory=dict)
    """The cluster of each project's previews."""
    _queue: asyncio.Queue[Hint] = field(default_factory=lambda: asyncio.Queue(HINTS))
    _watching: list[asyncio.Task[None]] = field(default_factory=list)

    async def follow(self, bus: Bus) -> None:
        """Keep up with what the projects bind, for ever."""
        async with bus.watch("st.project.*") as messages:
            async for message in messages:
                self.learn(msgspec.json.decode(message.data, type=Project))

    async def learn_all(self, store: Store) -> None:
        """What is bound now, so that no service is placed by a default that its project has changed."""
        for project in await store.all(Project):
            self.learn(project)

    def learn(self, project: Project) -> None:
        """Take in a project's environments."""
        for key in [key for key in self._environments if key[0] == project.slug]:
            del self._environments[key]
        self._previews[project.slug] = project.previews.cluster
        self._environments |= {(project.slug, one.name): one for one in project.environments}

    async def of(self, ref: ServiceRef) -> Cluster:
        """The service's cluster. Raises Refused for a name that this installation does not know."""
        named = self._bound(ref).cluster or self.default
        namespace = namespace_of(ref.project, ref.environment, self._bound(ref).namespace)
        if named != PODMAN and reserved(namespace):
            raise Refused(
                f"{namespace} is the platform's: give {ref.environment} of {ref.project} another `namespace:` in"
                " project.yaml",
                reason="reserved_namespace",
            )
        if named not in self._open:
            known = self.load()
            if named not in known:
                raise Refused(
                    f"{ref.environment} of {ref.project} is on the cluster {named!r}, which this installation does not"
                    " know: enclii cluster add",
                    reason="unknown_cluster",
                )
            self._open[named] = known[named]()
            self._watching.append(asyncio.create_task(self._hear(self._open[named])))
        return self._open[named]

    def leading(self, cluster: Cluster) -> Cluster:
        """``cluster``, to be changed. Raises Unavailable once another syncer may lead."""
        self.guard()
        return cluster

    async def secrets(self, ref: ServiceRef) -> SecretStore:
        """Where the values of the service's secrets go. Raises Refused as ``of`` does."""
        return (await self.of(ref)).secrets(self._bound(ref).namespace)

    async def running(self, ref: ServiceRef, cluster: str, namespace: str, name: str) -> dict[str, Any]:
        """The manifest of a Deployment that runs where the service's environment is. Raises Refused, NotFound."""
        bound = self._bound(ref)
        here = (bound.cluster or self.default, namespace_of(ref.project, ref.environment, bound.namespace))
        if (cluster, namespace) != here:
            raise Refused(
                f"{ref.environment} of {ref.project} is on {here[0]} in the namespace {here[1]!r}, so a release would"
                f" not replace {namespace}/{name} there: write `cluster: {cluster}` and `namespace: {namespace}` under"
                f" environments.{ref.environment} in {ref.project}/project.yaml first",
                reason="another_place",
            )
        found = await self.of(ref)
        if not isinstance(found, Exporting):
            raise Refused(f"{cluster} has no Deployments to adopt", reason="no_deployments")
        return await found.manifest(namespace, name)

    def placed(self, wanted: Wanted) -> Wanted:
        """The wish with the namespace and the policy of its environment."""
        bound = self._bound(wanted.ref)
        return replace(wanted, namespace=bound.namespace, drift=bound.drift)

    async def events(self) -> AsyncIterator[Hint]:
        """The hints of all clusters that are open, for ever."""
        while True:
            yield await self._queue.get()

    async def check(self) -> list[Finding]:
        """What ``doctor`` should say about each cluster that is used."""
        found: list[Finding] = []
        for name, cluster in sorted(self._open.items()):
            found += [replace(one, subject=f"{name}: {one.subject}") for one in await cluster.check()]
            found += await self._left_behind(name, cluster)
        return found

    async def _left_behind(self, name: str, cluster: Cluster) -> list[Finding]:
        """What an environment that has moved to another cluster left here: it is told, and ended by a person alone.

        A binding may be a slip of the pen, and the new place has to run before the old one may end.
        """
        found: list[Finding] = []
        try:
            refs = sorted({one.ref for one in await cluster.observe()})
            for ref in refs:
                now = self._bound(ref).cluster or self.default
                bound = now != name and (ref.project, ref.environment) in self._environments
                if bound and not await self._is_the_same(cluster, now, ref):
                    why = f"still runs here, and its environment is on {now} now"
                    found.append(Finding("warning", f"{name}: {ref}", why, _end_of(ref)))
        except EncliiError:
            return []  # that it is away is told already
        return found

    async def _is_the_same(self, cluster: Cluster, now: str, ref: ServiceRef) -> bool:
        """One cluster may have two names: what runs under both is where it belongs, and no command may end it."""
        other = self._open.get(now)
        if other is None:
            return False
        return bool(await _replicas(cluster, ref) & await _replicas(other, ref))

    async def close(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for cluster in self._open.values():
            await cluster.close()

    def _bound(self, ref: ServiceRef) -> Environment:
        found = self._environments.get((ref.project, ref.environment))
        if found is None and (is_preview(ref.environment) or ref.environment == SCOPE):
            return Environment(name=ref.environment, branch="", cluster=self._previews.get(ref.project, ""))
        return found or Environment(name=ref.environment, branch="")

    async def _hear(self, cluster: Cluster) -> None:
        while True:
            with contextlib.suppress(EncliiError):
                async with contextlib.aclosing(cluster.events()) as hints:  # type: ignore[type-var]
                    async for hint in hints:
                        await self._queue.put(hint)
            await asyncio.sleep(1.0)


async def _replicas(cluster: Cluster, ref: ServiceRef) -> frozenset[str]:
    return frozenset(one.name for seen in await cluster.observe(ref) for one in seen.replicas)


def _end_of(ref: ServiceRef) -> str:
    """The command that ends what was left, by the labels that everything of a service carries."""
    labels = {"project": ref.project, "environment": ref.environment, "service": ref.service}
    chosen = ",".join(f"enclii.dev/{key}={text}" for key, text in labels.items())
    return f"once it runs there, at the old cluster: kubectl delete deploy,svc,cm,ing,netpol,pdb,hpa,sa -A -l {chosen}"


def is_away(error: EncliiError) -> bool:
    """Whether nothing can be said about what runs now."""
    return isinstance(error, Unavailable) and error.reason in AWAY
