"""What Argo CD and Flux are told of the config repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gitops import emit, wiring
from gitops.layout import Place
from gitops.wiring import Source, Unit, argocd, checkout, flux
from tests.support.schema import problems

SCHEMAS = json.loads((Path(__file__).parents[2] / "data/flux/schemas.json").read_text())
SOURCE = Source("https://git.example/enclii/config.git")
WEB = Unit(Place("shop", "production", "web"), "shop-production")
ADMIN = Unit(Place("shop", "staging", "web-admin"), "preview")


def spec(document: Mapping[str, Any]) -> dict[str, Any]:
    return dict(document["spec"])


def test_an_application_refreshes_for_its_own_directory_alone() -> None:
    made = argocd.application(WEB, argocd.Site(), SOURCE)

    assert made["metadata"]["annotations"]["argocd.argoproj.io/manifest-generate-paths"] == "/shop/production/web"
    assert spec(made)["source"]["path"] == "shop/production/web"


def test_an_application_syncs_heals_prunes_and_reads_no_hold() -> None:
    made = spec(argocd.application(WEB, argocd.Site(), SOURCE))

    assert made["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    excluded = made["source"]["directory"]["exclude"].strip("{}").split(",")
    assert set(excluded) == {"hold.yaml", "orphaned.yaml", "secrets.yaml", "scale.yaml", "enclii-targets.yaml", ".*"}
    assert made["destination"] == {"server": "https://kubernetes.default.svc", "namespace": "shop-production"}


@pytest.mark.parametrize("tool", ["kustomize", "helm"])
def test_a_directory_that_a_tool_renders_is_left_to_argo_cd(tool: wiring.Tool) -> None:
    made = argocd.application(Unit(WEB.place, WEB.namespace, tool), argocd.Site(), SOURCE)

    assert "directory" not in spec(made)["source"]


def test_the_project_takes_one_repository_and_no_namespace_of_the_platform() -> None:
    made = spec(argocd.project(argocd.Site(namespace="gitops"), SOURCE))

    assert made["sourceRepos"] == [SOURCE.url]
    assert {"!kube-*", "!argocd", "!gitops", "*"} <= {one["namespace"] for one in made["destinations"]}
    assert made["clusterResourceWhitelist"] == [{"group": "", "kind": "Namespace"}]


def test_an_application_set_leaves_out_what_other_clusters_have() -> None:
    made = spec(argocd.application_set([WEB], ["shop/staging"], argocd.Site(), SOURCE))

    (generator,) = made["generators"]
    assert generator["git"]["directories"] == [{"path": "*/*/*"}, {"path": "shop/staging/*", "exclude": True}]


def test_an_application_set_knows_an_environment_with_a_namespace_of_its_own() -> None:
    made = spec(argocd.application_set([WEB, ADMIN], [], argocd.Site(), SOURCE))

    said = made["template"]["spec"]["destination"]["namespace"]
    assert '"shop/staging"}}preview{{else}}' in said
    assert '"shop/production"' not in said
    assert said.count("{{if") == said.count("{{end}}") == 1


def test_names_that_share_letters_share_no_unit() -> None:
    places = [Place("shop-a", "b", "web"), Place("shop", "a-b", "web"), Place("shop", "a", "b-web")]

    assert len({Unit(place, "x").name for place in places}) == 3


def test_a_long_name_still_fits_into_a_label() -> None:
    long = [Unit(Place("p" * 40, "e" * 40, "s" * length), "x").name for length in (39, 40)]

    assert len(set(long)) == 2
    assert max(map(len, long)) <= 63


@pytest.mark.parametrize(
    "document",
    [
        flux.git_repository(flux.Site(), SOURCE),
        flux.git_repository(flux.Site(credentials=""), SOURCE),
        flux.kustomization(WEB, flux.Site()),
        flux.receiver(flux.Site()),
    ],
    ids=lambda document: document["kind"],
)
def test_flux_is_told_what_its_published_schemas_know(document: Mapping[str, Any]) -> None:
    schema = SCHEMAS[f"{document['apiVersion']} {document['kind']}"]

    assert list(problems(spec(document), schema)) == []


def test_the_schemas_do_refuse() -> None:
    schema = SCHEMAS["kustomize.toolkit.fluxcd.io/v1 Kustomization"]
    wrong = {"interval": "often", "prune": True, "sourceRef": {"kind": "GitRepository"}, "app": "web"}

    assert len(list(problems(wrong, schema))) == 3


def test_flux_keeps_out_of_the_cluster_what_is_no_manifest() -> None:
    ignored = spec(flux.git_repository(flux.Site(), SOURCE))["ignore"].split()

    assert {"hold.yaml", "secrets.yaml", "project.yaml", "policy.yaml", "/clusters/"} <= set(ignored)


def test_a_namespace_refuses_pods_that_are_not_restricted() -> None:
    labels = wiring.namespace("shop-production")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_document_reads_back_as_it_was_meant() -> None:
    made = [
        argocd.application_set([WEB, ADMIN], ["a/b"], argocd.Site(), SOURCE),
        flux.git_repository(flux.Site(), SOURCE),
    ]

    for document in made:
        assert YAML(typ="safe", pure=True).load(emit.document(document)) == document


def project(folder: Path, name: str, environments: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "project.yaml").write_text(f"environments:\n{environments}")


def service(folder: Path, path: str, *files: str) -> None:
    (folder / path).mkdir(parents=True)
    for name in files:
        (folder / path / name).write_text("kind: X\n")


def test_a_checkout_gives_the_services_of_one_cluster(tmp_path: Path) -> None:
    project(tmp_path, "shop", "  production: {branch: main, cluster: east}\n  staging: {branch: next}\n")
    service(tmp_path, "shop/production/web", "deployment.yaml", "hold.yaml")
    service(tmp_path, "shop/production/old", "hold.yaml")
    service(tmp_path, "shop/staging/web", "deployment.yaml")

    found = checkout.read(tmp_path, cluster="east", default=False)

    assert found == checkout.Found((WEB,), ("shop/staging",))


def test_a_project_whose_file_is_broken_is_left_out_alone_and_told(tmp_path: Path) -> None:
    project(tmp_path, "shop", "  production: {branch: main, cluster: east}\n")
    service(tmp_path, "shop/production/web", "deployment.yaml")
    project(tmp_path, "other", "  production: {[\n")
    service(tmp_path, "other/production/web", "deployment.yaml")

    found = checkout.read(tmp_path, cluster="east", default=False)

    assert (found.units, found.elsewhere) == ((WEB,), ("other/*",))
    assert found.broken[0].startswith("other: project.yaml")
    assert "not valid YAML" in found.broken[0]


def test_an_environment_without_a_cluster_belongs_to_the_default_one(tmp_path: Path) -> None:
    project(tmp_path, "shop", "  staging: {branch: next, namespace: preview}\n")
    service(tmp_path, "shop/staging/web-admin", "deployment.yaml", "kustomization.yaml")

    found = checkout.read(tmp_path, cluster="east", default=True)

    assert found.units == (Unit(ADMIN.place, "preview", "kustomize"),)
