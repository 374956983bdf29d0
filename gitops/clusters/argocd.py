"""Argo CD as the tool that syncs: told by its webhook, watched by its Applications, one for each service.

An Application that is missing is made, in the form that ``enclii bootstrap argocd`` writes; one that is there is never
changed, because it belongs to whoever made it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gitops.clusters import Finding, ServiceRef, Wanted, argocd_state, hints, kube_plan, tool_objects
from gitops.clusters.argocd_state import Application
from gitops.clusters.kube_api import MERGE, Api
from gitops.clusters.kube_cache import Cache
from gitops.clusters.kube_follow import Name
from gitops.clusters.kube_kinds import Kind
from gitops.clusters.kube_objects import PREFIX
from gitops.clusters.sync_state import Sync
from gitops.clusters.tool_theirs import Theirs
from gitops.clusters.tool_units import Units, check_path, waking
from gitops.clusters.tools import LIST_LIMIT, Wake, unit_of
from gitops.layout import DEPLOYMENT_FILE, place_of
from gitops.wiring import Unit
from gitops.wiring import argocd as documents
from pipeline.errors import NotFound, Unavailable

UNIT = "Application"
KIND = Kind(documents.GROUP, "Application", "applications")
REFRESH = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}


@dataclass(frozen=True)
class Access:
    """How Argo CD is told: ``webhook`` is its ``/api/webhook``, the file has the secret that it shares with us.

    Without a webhook the Application is annotated instead. ``applicationset`` is the webhook of the ApplicationSet
    controller, which has one of its own; ``makes`` is false where that one, or a person, makes the Applications.
    """

    webhook: str = ""
    secret_file: Path | None = None
    applicationset: str = ""
    makes: bool = True


class ArgoCD(Units[Access, documents.Site]):
    """A Tool."""

    async def open(self, api: Api, wake: Wake) -> None:
        self._api = api
        path = KIND.collection(self._site.namespace)
        self._apps = Cache(api, path, Application, waking(wake), selector=f"{PREFIX}service")
        self._theirs = Theirs(api, path, Application, own=self._apps, near=self._near, wake=wake)
        self._task = asyncio.create_task(self._apps.run())

    async def close(self) -> None:
        await self._hints.settled()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._theirs.close()

    async def ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIST_LIMIT):
                await self._apps.listed.wait()
        if not self._apps.fresh:
            why = self._apps.problem.message if self._apps.problem else "no answer"
            raise Unavailable(f"Argo CD's Applications cannot be read: {why}", reason="sync_tool_away", delay=5.0)

    async def tell(self, wanted: Wanted) -> None:
        unit = unit_of(wanted.ref, kube_plan.namespace_of(wanted), wanted.tool)
        if wanted.adopted and await self._theirs.render(wanted, unit, UNIT):
            self._hints.tell(wanted.revision, wanted.targets)
            return
        app = self._app(unit)
        if app is not None:
            self._check_path(app, unit)
        elif self._access.makes:
            await self._make(unit, KIND, documents.application(unit, self._site, self._source))
        self._hint(wanted, unit)

    async def sync(self, wanted: Wanted) -> Sync:
        app = await self._theirs.unit(wanted, UNIT) if wanted.adopted else self._app(unit_of(wanted.ref))
        if isinstance(app, Sync):
            return app
        reached = {one for one in argocd_state.revisions(app) if await self._includes(one, wanted.revision)}
        return argocd_state.sync_of(app, reached.__contains__)

    async def managed(self, wanted: Wanted) -> list[Name]:
        app = await self._theirs.unit(wanted, UNIT)
        return [] if isinstance(app, Sync) else argocd_state.deployments(app)

    async def remove(self, ref: ServiceRef) -> bool:
        app = self._app(unit_of(ref))
        if app is None:
            return True
        if not self._access.makes:
            self._hints.tell("", [f"{unit_of(ref).place.path}/{DEPLOYMENT_FILE}"])
        elif not app.metadata.deletion_timestamp:
            self._check_path(app, unit_of(ref))
            await tool_objects.delete(self._api, KIND, self._site.namespace, app.metadata.name)
        return False

    def check(self) -> list[Finding]:
        return [self._told(), self._seen()]

    def _told(self) -> Finding:
        if self._hints.problem is not None:
            return Finding("warning", "Argo CD", self._hints.problem.message)
        if not self._access.webhook:
            return Finding("ok", "Argo CD", "is told by annotations; with `url` and a secret its webhook is used")
        return Finding("ok", "Argo CD", "its webhook takes our hints")

    def _seen(self) -> Finding:
        where = self._site.namespace
        what = f"Applications in namespace {where} are seen (`namespace` in clusters.yaml), those elsewhere are not"
        return Finding("ok", "Argo CD", what)

    def _app(self, unit: Unit) -> Application | None:
        return self._apps.get(self._site.namespace, unit.name)

    def _near(self, app: Application, file: str) -> int:
        return argocd_state.nearness(app, file, address=self._source.url, server=self._site.server)

    def _check_path(self, app: Application, unit: Unit) -> None:
        check_path("Application", app, app.spec.path if app.spec else "", unit)

    async def _send(self, revision: str, paths: Sequence[str]) -> None:
        if not self._access.webhook or self._access.secret_file is None:
            await asyncio.gather(*(self._annotate(path) for path in paths))
            return
        key = await hints.key_from(self._access.secret_file)
        signed = hints.argocd(self._source, revision, paths, key)
        urls = [url for url in (self._access.webhook, self._access.applicationset) if url]
        await asyncio.gather(*(hints.post(url, signed) for url in urls))

    async def _annotate(self, path: str) -> None:
        names = {app.metadata.name for app in self._theirs.reading(path)}
        if (place := place_of(path.rpartition("/")[0])) is not None:
            names.add(Unit(place, "").name)
        for name in names:
            target = KIND.object(self._site.namespace, name)
            with contextlib.suppress(NotFound):
                await self._api.call("PATCH", target, None, REFRESH, doing=f"refresh {name}", content=MERGE)
