"""A cluster that another tool syncs: Enclii tells it that git moved, reads how far it is, and measures what runs.

Enclii writes none of the service's objects here. So it never fights the tool's self-heal, and git alone says what the
tool does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from gitops.clusters import DeadLog, Finding, Health, ServiceRef, Wanted, Workload, kube_plan
from gitops.clusters.kube_api import Api, Login
from gitops.clusters.kube_follow import Name
from gitops.clusters.kube_kinds import KNOWN
from gitops.clusters.kubernetes import GONE_LIMIT, Kubernetes
from gitops.clusters.rendered import Rendered
from gitops.clusters.sync_state import Sync
from gitops.layout import Place
from gitops.wiring import Tool as Renders
from gitops.wiring import Unit
from pipeline.errors import EncliiError, NotFound, Refused, Unavailable

DEPLOYMENT = KNOWN["apps/v1", "Deployment"]
LIST_LIMIT = 10.0
REMOVE_LIMIT = 60.0
ASK_AGAIN = 5.0
UNSURE = frozenset({"syncing", "sync_is_manual", "no_unit", "several_units"})
"""Reasons that say nothing about the release: at the deadline it has not failed, nobody knows."""

Wake = Callable[[ServiceRef], None]
"""Told whenever the tool says something new about a service."""
Includes = Callable[[str, str], Awaitable[bool]]
"""Whether a revision of the config repository has a commit in it: revision, commit."""


class Tool(Protocol):
    """Argo CD or Flux."""

    async def open(self, api: Api, wake: Wake) -> None:
        """Begin to watch the tool's own objects."""
        ...

    async def close(self) -> None: ...

    async def ready(self) -> None:
        """Return once the tool's objects are known. Raises Unavailable while they are not."""
        ...

    async def tell(self, wanted: Wanted) -> None:
        """Have the tool look at the wanted commit, and make its unit when it has none."""
        ...

    async def sync(self, wanted: Wanted) -> Sync:
        """How far the tool is with it."""
        ...

    async def managed(self, wanted: Wanted) -> list[Name]:
        """The Deployments that the tool applied of an adopted service's files."""
        ...

    async def remove(self, ref: ServiceRef) -> bool:
        """Have the tool take away what it applied; True once its unit is gone."""
        ...

    def check(self) -> list[Finding]:
        """What ``doctor`` should say about it."""
        ...


def unit_of(ref: ServiceRef, namespace: str = "", tool: Renders = "plain") -> Unit:
    """The tool's unit for a service."""
    return Unit(Place(ref.project, ref.environment, ref.service), namespace, tool)


class Synced(Kubernetes):
    """A Kubernetes whose objects come by way of ``tool``."""

    applies = False

    def __init__(self, access: Login, tool: Tool, **more: Any) -> None:
        super().__init__(access, **more)
        self._tool = tool
        self._rendered = Rendered(self.api, self._view)
        self._started: dict[ServiceRef, str] = {}
        self._opened: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._tool.close()
        await super().close()

    async def check(self) -> list[Finding]:
        return [*await super().check(), *self._tool.check()]

    async def start(self, wanted: Wanted) -> None:
        await self._ready()
        self._know(wanted)
        self._started[wanted.ref] = wanted.deployment
        await self._tool.tell(wanted)

    async def drift(self, wanted: Wanted) -> tuple[str, ...]:
        """The tool's own business: it heals by itself and shows what it found."""
        return ()

    async def difference(self, wanted: Wanted) -> tuple[str, ...]:
        """What the tool would change, were it to apply what git has now."""
        await self._ready()
        if not kube_plan.are_plain(wanted):
            raise Refused(
                f"what the files of {wanted.ref} are rendered to, the sync tool alone knows: ask it for its diff",
                reason="rendered_elsewhere",
            )
        return await self._applier.difference(wanted, marked=False)

    async def healthy(self, wanted: Wanted) -> Health:
        self._know(wanted)
        try:
            await self._ready()
            sync = await self._tool.sync(wanted)
            if sync.progress == "synced" and wanted.adopted:
                there = await self._found(wanted)
                if isinstance(there, Health):
                    return there
                wanted = replace(wanted, namespace=there.namespace)
            elif sync.progress == "synced" and self._started.get(wanted.ref) == wanted.deployment:
                await self._look(wanted)
        except Unavailable as error:
            return Health("unknown", error.reason, error.message)
        return sync.health(await super().healthy(wanted))

    def workload(self, wanted: Wanted) -> Workload:
        """What an adopted service asks for, its own renderer knows: here it is what the Deployment says."""
        if not wanted.adopted:
            return super().workload(wanted)
        there = self._view.deployment(wanted.ref)
        return Workload(replicas=there.spec.replicas if there else 0, port=None)

    async def remove(self, ref: ServiceRef, *, grace: float = 10.0) -> list[DeadLog]:
        await self._ready()
        logs = list(await asyncio.gather(*(self._words.of_pod(ref, pod) for pod in self._view.pods(ref))))
        await self._taken_away(ref)
        await self._rendered.forget(ref)
        await self._gone(ref, grace + GONE_LIMIT)
        await self._previews.end(ref)
        self._wanted.pop(ref, None)
        self._started.pop(ref, None)
        return logs

    async def _ready(self) -> None:
        await self._view.ready()
        if self._opened is None:
            self._opened = asyncio.ensure_future(self._tool.open(self.api, self._view.wake))
        await asyncio.shield(self._opened)
        await self._tool.ready()

    async def _found(self, wanted: Wanted) -> Name | Health:
        """The Deployment of an adopted service; after each start it is looked at once, as ``_look`` does."""
        again = self._started.get(wanted.ref) == wanted.deployment
        there = await self._rendered.find(wanted, await self._tool.managed(wanted), again=again)
        if again and isinstance(there, Name):
            self._started.pop(wanted.ref, None)
        return there

    async def _look(self, wanted: Wanted) -> None:
        """The tool's word and the Deployment come by two watches: one look makes sure that they are of one moment."""
        name = str((kube_plan.the_deployment(wanted).get("metadata") or {}).get("name"))
        path = DEPLOYMENT.object(kube_plan.namespace_of(wanted), name)
        try:
            self._view.wrote(DEPLOYMENT, await self.api.get(path, doing=f"look at {name}"))
        except NotFound:
            return
        self._started.pop(wanted.ref, None)

    async def _taken_away(self, ref: ServiceRef) -> None:
        """Return once the tool has removed its unit, and with it what it applied. Raises Unavailable."""
        try:
            async with asyncio.timeout(REMOVE_LIMIT):
                while True:
                    moved = self._view.moved(ref)
                    if await self._tool.remove(ref):
                        return
                    waiting = asyncio.ensure_future(moved.wait())
                    await asyncio.wait({waiting}, timeout=ASK_AGAIN)
                    waiting.cancel()
        except TimeoutError:
            raise Unavailable(f"the sync tool has not removed {ref} yet", reason="sync_tool_away", delay=10.0) from None

    async def _given_up(self, wanted: Wanted, health: Health) -> EncliiError:
        if health.reason in UNSURE:
            return Unavailable(f"{wanted.ref}: {health.detail}", reason="sync_is_late", delay=10.0)
        if health.reason == "sync_tool_away":
            return Unavailable(health.detail or "the sync tool is away", reason="sync_tool_away", delay=10.0)
        return await super()._given_up(wanted, health)
