"""Our side of Flux on a real API server: the objects that are made, the hint that is sent, the status that is read.

Flux itself is not there: its three kinds are served without it, and what it would write is written by the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gitops.clusters import ServiceRef, Wanted
from gitops.clusters.flux import RECEIVER, SOURCE, UNIT, Access, Flux
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_kinds import Kind
from gitops.clusters.kube_login import Access as KubeAccess
from gitops.clusters.kube_login import login
from gitops.wiring import Source
from gitops.wiring import flux as documents
from tests.support import kube
from tests.support.kubernetes import alone_on_the_cluster, found, kubectl
from tests.support.serving import serving

URL = Source("https://git.example/enclii/config.git")
OURS = "a" * 40
LIMIT = 60.0


def served(kind: Kind) -> dict[str, Any]:
    """A kind that keeps whatever is written to it."""
    group, version = kind.api.split("/")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}", "labels": {"enclii.dev/test": "flux"}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind.kind, "plural": kind.plural, "listKind": f"{kind.kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def several(*items: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.fixture(scope="module")
def site() -> Iterator[documents.Site]:
    """A namespace with what ``enclii bootstrap flux`` writes, and with what Flux would say of the Receiver."""
    name = f"flux-{uuid4().hex[:8]}"
    kinds = [served(kind) for kind in (UNIT, SOURCE, RECEIVER)]
    names = [f"crd/{kind['metadata']['name']}" for kind in kinds]
    made = documents.Site(namespace=name)
    receiver = {**documents.receiver(made), "status": {"webhookPath": "/hook/abc"}}
    with alone_on_the_cluster():  # kinds have no namespace
        kubectl("delete", "--ignore-not-found", *names)  # of a run that was interrupted
        try:
            kubectl("create", "namespace", name)
            kubectl("create", "-f", "-", stdin=several(*kinds))
            kubectl("wait", "--for=condition=Established", "--timeout=120s", *names)
            kubectl("apply", "-f", "-", stdin=several(documents.git_repository(made, URL), receiver))
            yield made
        finally:
            kubectl("delete", "namespace", name, "--wait=false", check=False)
            kubectl("delete", *names, check=False)


class Hooks:
    """Flux's notification controller, as far as the network goes."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, bytes]] = []

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        self.got.append((request.url.path, request.headers.get("X-Signature", ""), await request.body()))
        return Response()


@contextlib.asynccontextmanager
async def opened(site: documents.Site, access: Access) -> AsyncIterator[Flux]:
    async def includes(revision: str, commit: str) -> bool:
        return revision == commit

    api = Api(login(KubeAccess(kubeconfig=kube.kubeconfig())))
    flux = Flux(access, site, URL, includes=includes, instance=site.namespace, pod_security="privileged")
    await flux.open(api, lambda _: None)
    try:
        await flux.ready()
        yield flux
    finally:
        await flux.close()
        await api.close()


def a_wish() -> Wanted:
    ref = ServiceRef(f"s{uuid4().hex[:8]}", "production", "web")
    return Wanted(ref, "d1", "v1", "host/web@sha256:0", (), namespace="default", revision=OURS)


async def until(flux: Flux, wanted: Wanted, progress: str) -> str:
    async with asyncio.timeout(LIMIT):
        while (sync := await flux.sync(wanted)).progress != progress:  # noqa: ASYNC110 - a watch brings it
            await asyncio.sleep(0.05)
    return sync.detail


def say(site: documents.Site, wanted: Wanted, status: dict[str, Any]) -> None:
    """What Flux's controller would write."""
    name = ".".join((wanted.ref.project, wanted.ref.environment, wanted.ref.service))
    patch = json.dumps({"status": status})
    kubectl("-n", site.namespace, "patch", "kustomization", name, "--type=merge", "-p", patch)


def test_the_receiver_is_poked_at_the_path_that_flux_says_with_a_signature(
    site: documents.Site, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("shared\n")

    async def go(hooks: Hooks) -> None:
        async with serving(hooks.app) as url, opened(site, Access(url, token)) as flux:
            await flux.tell(a_wish())

    hooks = Hooks()
    asyncio.run(go(hooks))

    ((path, signature, body),) = hooks.got
    expected = hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    assert (path, signature) == ("/hook/abc", f"sha256={expected}")


def test_a_service_gets_one_kustomization_whose_status_is_read_until_it_is_removed(site: documents.Site) -> None:
    wanted = a_wish()

    async def go() -> None:
        async with opened(site, Access()) as flux:
            await flux.tell(wanted)
            await flux.tell(wanted)
            assert (await flux.sync(wanted)).progress == "waiting"
            failed = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "no such field"}
            say(site, wanted, {"lastAttemptedRevision": f"main@sha1:{OURS}", "conditions": [failed]})
            assert await until(flux, wanted, "failing") == "Flux: BuildFailed: no such field"
            done = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": ""}
            say(site, wanted, {"lastAppliedRevision": f"main@sha1:{OURS}", "conditions": [done]})
            await until(flux, wanted, "synced")
            async with asyncio.timeout(LIMIT):
                while not await flux.remove(wanted.ref):  # noqa: ASYNC110 - a watch brings it
                    await asyncio.sleep(0.05)

    asyncio.run(go())

    assert found(site.namespace, "kustomizations", "-l", f"enclii.dev/project={wanted.ref.project}")["items"] == []


def test_a_persons_kustomization_is_read_for_adopted_files_with_what_its_charts_made(site: documents.Site) -> None:
    team = f"team-{uuid4().hex[:8]}"
    wanted = replace(a_wish(), adopted=True, targets=(f"{team}/production/release.yaml",))
    entries = [f"{team}_front_apps_Deployment", f"{team}_shop_helm.toolkit.fluxcd.io_HelmRelease", f"{team}_a__Service"]
    status = {"lastAppliedRevision": f"main@sha1:{OURS}", "inventory": {"entries": [{"id": one} for one in entries]}}
    theirs = {
        "apiVersion": UNIT.api, "kind": UNIT.kind, "metadata": {"name": team, "namespace": site.namespace},
        "spec": {"path": f"./{team}", "sourceRef": {"kind": "GitRepository", "name": "theirs"}}, "status": status,
    }  # fmt: skip

    async def go() -> None:
        async with opened(site, Access()) as flux:
            assert "no Kustomization renders" in await until(flux, wanted, "failing")
            await flux.tell(wanted)
            assert (
                found(site.namespace, "kustomizations", "-l", f"enclii.dev/project={wanted.ref.project}")["items"] == []
            )
            await asyncio.to_thread(kubectl, "apply", "-f", "-", stdin=several(theirs))
            await until(flux, wanted, "synced")
            assert [str(one) for one in await flux.managed(wanted)] == [f"{team}/front", f"{site.namespace}/{team}"]

    labels = {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": team}
    kubectl("apply", "-f", "-", stdin=several(sleeping(team, site.namespace, labels)))
    asyncio.run(go())


def sleeping(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """A Deployment of no pods."""
    container = {"name": "web", "image": "host/web"}
    pod = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": pod}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def test_without_a_receiver_the_repository_is_annotated(site: documents.Site) -> None:
    async def go() -> None:
        async with opened(site, Access()) as flux:
            await flux.tell(a_wish())

    asyncio.run(go())

    annotations = found(site.namespace, "gitrepository", site.name)["metadata"]["annotations"]
    assert "reconcile.fluxcd.io/requestedAt" in annotations
