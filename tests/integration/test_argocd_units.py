"""Which Application renders an adopted service's files, by the kit's real API server with Argo CD's kinds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

from gitops.clusters import ServiceRef, Wanted
from gitops.clusters.argocd import Access, ArgoCD
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_login import Access as Cluster
from gitops.clusters.kube_login import login
from gitops.clusters.sync_state import Sync
from gitops.wiring import Source
from gitops.wiring.argocd import Site
from tests.support import argocd, kube
from tests.support.kubernetes import kubectl

SOURCE = Source("https://git.example/enclii/config.git")
DIGEST = "sha256:" + "7" * 64


async def nobody(_: str, __: str) -> bool:
    return False


def applied(project: str, name: str, path: str) -> None:
    source = {"repoURL": SOURCE.url, "targetRevision": "main", "path": path}
    destination = {"server": "https://kubernetes.default.svc", "namespace": project}
    document = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": f"{project}-{name}", "namespace": argocd.NAMESPACE},
        "spec": {"project": project, "source": source, "destination": destination},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(document))


def test_the_nearest_application_is_asked_and_none_or_two_are_told_by_name() -> None:
    with argocd.a_project(SOURCE) as site:
        asyncio.run(_story(site))


async def _story(site: Site) -> None:
    project = site.project
    woken: list[ServiceRef] = []
    file = f"{project}/overlays/production/kustomization.yaml"
    ref = ServiceRef(project, "production", "web")
    wanted = Wanted(ref, "d-1", "v1", f"r/web@{DIGEST}", (), adopted=True, targets=(file,))
    tool = ArgoCD(Access(), site, SOURCE, includes=nobody, instance=project)
    api = Api(login(Cluster(kubeconfig=kube.kubeconfig())))
    await tool.open(api, woken.append)
    try:
        await tool.ready()
        assert f"in namespace {argocd.NAMESPACE} are seen" in tool.check()[1].message
        none = await tool.sync(wanted)
        assert (none.progress, none.reason) == ("failing", "no_unit")
        assert f"/{file}" in none.detail
        await tool.tell(wanted)
        assert kubectl("-n", argocd.NAMESPACE, "get", "applications", "-l", f"enclii.dev/project={project}") == ""

        await asyncio.to_thread(applied, project, "all", project)
        await asyncio.to_thread(applied, project, "web", f"{project}/overlays/production")
        near = await reached(tool, wanted, lambda now: now.reason not in ("no_unit", "several_units"))
        assert near.progress in ("waiting", "failing")
        assert woken
        assert {one for one in woken if one.project == project} == {ref}  # others may use this Argo CD

        await asyncio.to_thread(applied, project, "too", f"./{project}/overlays/production/")
        two = await reached(tool, wanted, lambda now: now.reason == "several_units")
        assert f"{project}-too, {project}-web" in two.detail
        assert await tool.managed(wanted) == []
        elsewhere = replace(wanted, targets=("apps/none.yaml",))
        assert (await tool.sync(elsewhere)).reason == "no_unit"
    finally:
        await tool.close()
        await api.close()


async def reached(tool: ArgoCD, wanted: Wanted, so: Callable[[Sync], bool]) -> Sync:
    """The tool's answer, once the watch has brought what makes it so."""
    async with asyncio.timeout(60):
        while not so(found := await tool.sync(wanted)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found
