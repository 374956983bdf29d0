from __future__ import annotations

import pytest

from gitops.editing import adopt
from gitops.editing.adoption import checked, of_environment
from pipeline.errors import Invalid, Refused

DEPLOYMENT = (
    b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: ["
    b"{name: web, image: acme/web:v1}, {name: proxy, image: envoy:v2}]}}}\n"
)
CRON = (
    b"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tidy}\nspec: {jobTemplate: {spec: {template: {spec: "
    b"{containers: [{name: tidy, image: 'acme/web:v1'}]}}}}}\n"
)
VALUES = b"image: {repository: acme/web, tag: v1}\nsidecar:\n  image: envoy:v2\nimagePullPolicy: Always\n"
HELM_RELEASE = (
    b"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: web}\nspec:\n  values:\n    image:\n"
    b'      repository: acme/web # {"$imagepolicy": "ns:web:name"}\n      tag: v1 # {"$imagepolicy": "ns:web:tag"}\n'
)


def spelled(files: dict[str, bytes]) -> list[str]:
    return [one.spelling for one in adopt.look(files).candidates]


@pytest.mark.parametrize(
    ("name", "data", "spellings"),
    [
        ("a.yaml", DEPLOYMENT, ["workload:Deployment/web/web", "workload:Deployment/web/proxy"]),
        ("a.yml", CRON, ["workload:CronJob/tidy/tidy"]),
        ("values.yaml", VALUES, ["helm:image", "helm:sidecar.image"]),
        ("a.yaml", HELM_RELEASE, ["helm:spec.values.image"]),
        ("kustomization.yaml", b"images: [{name: a, newTag: b}, {name: c}]", ["kustomize:a"]),
        ("a.yaml", b'x:\n  y: a:v1 # {"$imagepolicy": "ns:web"}\n', ["policy:ns:web"]),
        ("a.txt", DEPLOYMENT, []),
        ("enclii-targets.yaml", VALUES, []),
        ("a.yaml", b"kind: Service\napiVersion: v1\nspec: {image: a:b}\n", []),
    ],
)
def test_candidates_are_what_can_be_edited(name: str, data: bytes, spellings: list[str]) -> None:
    assert spelled({name: data}) == spellings


def test_a_broken_file_is_passed_over_and_named() -> None:
    found = adopt.look({"a.yaml": DEPLOYMENT, "b.yaml": b"[", "c.yaml": b"\xff"})
    assert len(found.candidates) == 2
    assert [line.partition(":")[0] for line in found.skipped] == ["b.yaml", "c.yaml"]


def test_the_containers_of_one_image_are_adopted_together_and_a_sidecar_is_not() -> None:
    chosen = adopt.choose(adopt.look({"a.yaml": DEPLOYMENT, "b.yaml": CRON}), service="web")
    assert [one.spelling for one in chosen] == ["workload:Deployment/web/web", "workload:CronJob/tidy/tidy"]


@pytest.mark.parametrize(
    ("files", "service"),
    [
        ({"a.yaml": DEPLOYMENT}, "shop"),
        ({"a.yaml": DEPLOYMENT, "b.yaml": CRON.replace(b":v1", b":v0")}, "web"),
        ({"values.yaml": VALUES, "values-x.yaml": VALUES}, "web"),
    ],
)
def test_what_could_be_meant_is_listed_when_it_is_not_clear(files: dict[str, bytes], service: str) -> None:
    found = adopt.look(files)
    with pytest.raises(Refused) as refusal:
        adopt.choose(found, service=service)
    assert refusal.value.reason == "ambiguous_image"
    assert all(str(one) in refusal.value.message for one in found.candidates)


def test_a_person_may_say_which() -> None:
    found = adopt.look({"values.yaml": VALUES, "values-x.yaml": VALUES})
    (one,) = adopt.choose(found, service="web", wanted=["values-x.yaml:helm:image"])
    assert one.target.file == "values-x.yaml"
    with pytest.raises(Refused, match="several times"):
        adopt.choose(found, service="web", wanted=["helm:image"])


def test_nothing_to_adopt_says_why() -> None:
    with pytest.raises(Refused) as refusal:
        adopt.choose(adopt.look({"kustomization.yaml": b"resources: [../base]"}), service="web")
    assert refusal.value.reason == "nothing_to_adopt"


def test_values_of_other_environments_are_left_out_where_one_is_named_after_this_one() -> None:
    files = {"c/values.yaml": b"", "c/values-production.yaml": b"", "c/values-staging.yaml": b"", "c/a.yaml": b""}
    assert list(of_environment(files, "production")) == ["c/values-production.yaml", "c/a.yaml"]
    assert list(of_environment(files, "qa")) == list(files)


@pytest.mark.parametrize(("path", "folder"), [("/a/b/", "a/b"), ("", ""), ("./a", "a"), ("a/./b", "a/b")])
def test_a_path_is_one_from_the_root(path: str, folder: str) -> None:
    assert checked(path) == folder


@pytest.mark.parametrize("path", ["..", "a/../../b", ".git", "a\nb", "x" * 2_000])
def test_a_path_that_leaves_the_repository_is_invalid(path: str) -> None:
    with pytest.raises(Invalid):
        checked(path)
