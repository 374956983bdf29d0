"""Which Deployment runs an adopted service: by the units that Argo CD and Flux publish, recorded, and by its image."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gitops.clusters import Health, ServiceRef, Wanted, argocd_state, flux_state
from gitops.clusters.argocd_state import Application
from gitops.clusters.flux_state import Kustomization
from gitops.clusters.kube_follow import Found, Name, found
from gitops.clusters.kube_images import deployed
from gitops.clusters.kube_rollout import main_container
from gitops.clusters.rendered import chosen

DIGEST = "sha256:" + "7" * 64
WANTED = Wanted(
    ServiceRef("shop", "production", "web"), "d-7", "v7", f"registry.example/shop/web@{DIGEST}", (), adopted=True,
    targets=("apps/web/overlays/production/kustomization.yaml",),
)  # fmt: skip
REPO = "https://git.example/enclii/config.git"
IN_CLUSTER = "https://kubernetes.default.svc"


def deployment(name: str, *images: str, selector: Any = None) -> Found:
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    spec = {"selector": selector or {"matchLabels": {"app": name}}, "template": {"spec": {"containers": containers}}}
    data = {"metadata": {"name": name, "namespace": "shop", "uid": name}, "spec": spec}
    return found(Name("shop", name), json.dumps(data).encode())


def application(**spec: Any) -> Application:
    resources = [
        {"version": "v1", "kind": "Service", "namespace": "shop", "name": "web", "status": "Synced"},
        {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "prod-web",
         "status": "Synced", "health": {"status": "Healthy"}},
        {"group": "other.example", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "not-this"},
    ]  # fmt: skip
    spec.setdefault("destination", {"server": IN_CLUSTER, "namespace": "shop"})
    return msgspec.json.decode(
        json.dumps({"metadata": {"name": "web"}, "spec": spec, "status": {"resources": resources}}), type=Application
    )


def near(app: Application, file: str = WANTED.targets[0]) -> int:
    return argocd_state.nearness(app, file, address=REPO, server=IN_CLUSTER)


def test_an_application_lists_the_deployments_that_it_manages() -> None:
    assert argocd_state.deployments(application()) == [Name("shop", "prod-web")]
    assert argocd_state.deployments(msgspec.json.decode(b"{}", type=Application)) == []


def test_the_application_of_the_nearest_directory_reads_a_file() -> None:
    overlay = application(source={"repoURL": REPO.removesuffix(".git"), "path": "./apps/web/overlays/production/"})
    whole = application(source={"repoURL": REPO, "path": "apps"})

    assert near(overlay) > near(whole) > near(application(source={"repoURL": REPO, "path": "."})) >= 0
    assert near(application(source={"repoURL": REPO, "path": "apps/we"})) == -1


@pytest.mark.parametrize(
    "spec",
    [
        {"source": {"repoURL": "https://git.example/other.git", "path": "apps"}},
        {"source": {"repoURL": REPO, "path": "apps"}, "destination": {"server": "https://other.example"}},
        {"source": {"repoURL": REPO, "path": "apps"}, "destination": {"name": "west"}},
        {},
    ],
    ids=["another-repository", "another-cluster", "another-cluster-by-name", "no-source"],
)
def test_an_application_of_something_else_reads_none_of_ours(spec: Any) -> None:
    assert near(application(**spec)) == -1


def test_values_are_read_by_whoever_names_them_wherever_they_lie() -> None:
    beside = {"repoURL": REPO, "path": "charts/web", "helm": {"valueFiles": ["../../values/web.yaml"]}}
    chart = {"repoURL": "https://charts.example", "chart": "web", "helm": {"valueFiles": ["$ours/values/web.yaml"]}}
    ours = {"repoURL": REPO, "ref": "ours"}

    assert near(application(source=beside), "values/web.yaml") > near(application(source=beside), "charts/web/x.yaml")
    assert near(application(sources=[chart, ours]), "values/web.yaml") > 0
    assert near(application(sources=[chart, ours]), "values/db.yaml") == -1


def test_an_application_of_several_sources_has_applied_our_commit_when_one_of_them_is_it() -> None:
    status = {"sync": {"status": "Synced", "revisions": ["1.2.3", "a" * 40]}}
    app = msgspec.json.decode(json.dumps({"status": status}), type=Application)

    assert argocd_state.revisions(app) == {"1.2.3", "a" * 40}
    assert argocd_state.sync_of(app, {"a" * 40}.__contains__).progress == "synced"


def test_flux_s_inventory_lists_deployments_and_releases() -> None:
    entries = [
        {"id": "shop_prod-web_apps_Deployment", "v": "v1"},
        {"id": "shop_web__Service", "v": "v1"},
        {"id": "_system__node_rbac.authorization.k8s.io_ClusterRole", "v": "v1"},
        {"id": "shop_web_helm.toolkit.fluxcd.io_HelmRelease", "v": "v2"},
    ]
    unit = msgspec.json.decode(json.dumps({"status": {"inventory": {"entries": entries}}}), type=Kustomization)

    assert flux_state.applied(unit, "apps", "Deployment") == [Name("shop", "prod-web")]
    assert flux_state.applied(unit, "helm.toolkit.fluxcd.io", "HelmRelease") == [Name("shop", "web")]


def test_a_chart_s_deployments_are_those_that_carry_its_release_s_labels() -> None:
    data = b'{"kind": "DeploymentList", "items": [{"metadata": {"name": "web-chart", "namespace": "shop"}}]}'

    assert flux_state.listed(data) == [Name("shop", "web-chart")]


def test_the_kustomization_of_the_nearest_directory_reads_a_file() -> None:
    def at(path: str, kind: str = "GitRepository") -> int:
        data = {"spec": {"path": path, "sourceRef": {"kind": kind, "name": "config"}}}
        return flux_state.nearness(msgspec.json.decode(json.dumps(data), type=Kustomization), WANTED.targets[0])

    assert at("./apps/web/overlays/production") > at("./apps") > at("./") >= 0
    assert at("./apps", "OCIRepository") == at("./other") == -1


def test_the_deployment_is_the_one_that_runs_the_committed_digest() -> None:
    web = deployment("prod-web", "proxy:1", f"mirror.example/web:v7@{DIGEST}")
    other = deployment("web", "registry.example/shop/web:v6")

    assert chosen(WANTED, [other, web]) is web
    assert deployed(WANTED, web.deployment)
    assert main_container(web.deployment, WANTED.image) == "c1"


def test_of_several_the_one_named_like_the_service_is_meant() -> None:
    web, worker = deployment("web", WANTED.image), deployment("worker", WANTED.image)

    assert chosen(WANTED, [worker, web]) is web


def test_several_of_other_names_are_told_by_name() -> None:
    answer = chosen(WANTED, [deployment("worker", WANTED.image), deployment("front", WANTED.image)])

    assert isinstance(answer, Health)
    assert (answer.status, answer.reason) == ("unhealthy", "rendered_twice")
    assert "Deployment shop/front, Deployment shop/worker" in str(answer.detail)


@pytest.mark.parametrize("names", [[], ["old", "older"], [f"n{number}" for number in range(9)]])
def test_none_is_told_with_the_names_of_what_is_there(names: list[str]) -> None:
    answer = chosen(WANTED, [deployment(name, "registry.example/shop/web:v6") for name in names])

    assert isinstance(answer, Health)
    assert (answer.status, answer.reason) == ("unhealthy", "not_rendered")
    assert all(f"shop/{name}" in str(answer.detail) for name in names[:5])
    assert ("and 4 more" in str(answer.detail)) == (len(names) == 9)


def test_pods_are_watched_by_the_deployment_s_own_selector() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "canary", "operator": "DoesNotExist"},
        {"key": "app", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["x"]},
    ]
    there = deployment("web", selector={"matchLabels": {"app": "web"}, "matchExpressions": expressions})

    assert there.selector == "app=web,tier in (a,b),!canary,app,zone notin (x)"
