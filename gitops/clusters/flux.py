"""Flux as the tool that syncs: its Receiver is poked, its Kustomizations are watched, one for each service.

Checked against Flux's published schemas and its documented behaviour, never against a running Flux.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from gitops.clusters import Finding, ServiceRef, Wanted, flux_state, hints, kube_plan, tool_objects
from gitops.clusters.flux_state import GitRepository, Kustomization, Receiver
from gitops.clusters.kube_api import MERGE, Api
from gitops.clusters.kube_cache import Cache
from gitops.clusters.kube_follow import Name
from gitops.clusters.kube_kinds import KNOWN, Kind
from gitops.clusters.kube_objects import PREFIX
from gitops.clusters.sync_state import Sync
from gitops.clusters.tool_theirs import Theirs
from gitops.clusters.tool_units import Units, check_path, waking
from gitops.clusters.tools import LIST_LIMIT, Wake, unit_of
from gitops.wiring import Unit
from gitops.wiring import flux as documents
from pipeline.errors import Unavailable

RELEASES = "helm.toolkit.fluxcd.io"
UNIT = Kind(documents.KUSTOMIZE, "Kustomization", "kustomizations")
SOURCE = Kind(documents.SOURCE, "GitRepository", "gitrepositories")
RECEIVER = Kind(documents.NOTIFICATION, "Receiver", "receivers")


@dataclass(frozen=True)
class Access:
    """``receiver`` is where Flux's notification controller is reached; without a path, the Receiver itself names it.

    Without a receiver the GitRepository is annotated instead, as ``flux reconcile`` does.
    """

    receiver: str = ""
    token_file: Path | None = None


class Flux(Units[Access, documents.Site]):
    """A Tool."""

    async def open(self, api: Api, wake: Wake) -> None:
        self._api = api

        def fetched(_: GitRepository | None, __: GitRepository | None) -> None:
            for one in self._units:
                if (ref := kube_plan.ref_of(one.metadata.labels)) is not None:
                    wake(ref)

        space = self._site.namespace
        service = f"{PREFIX}service"
        self._units = Cache(api, UNIT.collection(space), Kustomization, waking(wake), selector=service)
        self._theirs = Theirs(
            api, UNIT.collection(space), Kustomization, own=self._units, near=flux_state.nearness, wake=wake
        )
        name = f"metadata.name={self._site.name}"
        self._sources = Cache(api, SOURCE.collection(space), GitRepository, fetched, fields=name)
        self._tasks = [asyncio.create_task(cache.run()) for cache in (self._units, self._sources)]

    async def close(self) -> None:
        await self._hints.settled()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._theirs.close()

    async def ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIST_LIMIT):
                await self._units.listed.wait()
                await self._sources.listed.wait()
        if not (self._units.fresh and self._sources.fresh):
            problem = self._units.problem or self._sources.problem
            why = problem.message if problem else "no answer"
            raise Unavailable(f"Flux's objects cannot be read: {why}", reason="sync_tool_away", delay=5.0)

    async def tell(self, wanted: Wanted) -> None:
        unit = unit_of(wanted.ref, kube_plan.namespace_of(wanted), wanted.tool)
        if wanted.adopted and await self._theirs.render(wanted, unit, UNIT.kind):
            self._hints.tell(wanted.revision, wanted.targets)
            return
        found = self._unit(unit)
        if found is None:
            await self._make(unit, UNIT, documents.kustomization(unit, self._site))
        else:
            self._check_path(found, unit)
        self._hint(wanted, unit)

    async def sync(self, wanted: Wanted) -> Sync:
        unit = await self._theirs.unit(wanted, UNIT.kind) if wanted.adopted else self._unit(unit_of(wanted.ref))
        if isinstance(unit, Sync):
            return unit
        reached = {one for one in flux_state.revisions(unit) if await self._includes(one, wanted.revision)}
        source = self._sources.get(self._site.namespace, self._site.name)
        return flux_state.sync_of(unit, source, reached.__contains__)

    async def managed(self, wanted: Wanted) -> list[Name]:
        unit = await self._theirs.unit(wanted, UNIT.kind)
        if isinstance(unit, Sync):
            return []
        found = flux_state.applied(unit, "apps", "Deployment")
        for release in flux_state.applied(unit, RELEASES, "HelmRelease"):
            found += await self._released(release)
        return found

    async def _released(self, release: Name) -> list[Name]:
        """The Deployments of a chart: the helm controller writes its release's name on each object."""
        labels = f"{RELEASES}/name={release.name},{RELEASES}/namespace={release.namespace}"
        path = KNOWN["apps/v1", "Deployment"].collection()
        data = await self._api.get(path, {"labelSelector": labels}, doing=f"look for the release {release}")
        return flux_state.listed(data)

    async def remove(self, ref: ServiceRef) -> bool:
        unit = self._unit(unit_of(ref))
        if unit is None:
            return True
        if not unit.metadata.deletion_timestamp:
            self._check_path(unit, unit_of(ref))
            await tool_objects.delete(self._api, UNIT, self._site.namespace, unit.metadata.name)
        return False

    def check(self) -> list[Finding]:
        if self._hints.problem is not None:
            return [Finding("warning", "Flux", self._hints.problem.message)]
        return [Finding("ok", "Flux", "is told by its Receiver" if self._access.receiver else "is told by annotations")]

    def _unit(self, unit: Unit) -> Kustomization | None:
        return self._units.get(self._site.namespace, unit.name)

    def _check_path(self, found: Kustomization, unit: Unit) -> None:
        check_path("Kustomization", found, found.spec.path if found.spec else "", unit)

    async def _send(self, revision: str, _: Sequence[str]) -> None:
        if not self._access.receiver or self._access.token_file is None:
            asked = {"reconcile.fluxcd.io/requestedAt": datetime.now(UTC).isoformat()}
            target = SOURCE.object(self._site.namespace, self._site.name)
            body = {"metadata": {"annotations": asked}}
            await self._api.call("PATCH", target, None, body, doing="poke the GitRepository", content=MERGE)
            return
        key = await hints.key_from(self._access.token_file)
        await hints.post(await self._address(), hints.flux(self._source, revision, key))

    async def _address(self) -> str:
        """The Receiver's own address: Flux derives its path from the token."""
        base = self._access.receiver
        if urlsplit(base).path.strip("/"):
            return base
        path = RECEIVER.object(self._site.namespace, self._site.name)
        found = msgspec.json.decode(await self._api.get(path, doing="look at the Receiver"), type=Receiver)
        if found.status is None or not found.status.webhook_path:
            raise Unavailable("Flux has not accepted the Receiver yet", reason="webhook_away")
        return base.rstrip("/") + found.status.webhook_path
