"""What Enclii's own syncer applies starts the verified image and no other, in whatever document git has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitops.clusters import ServiceRef, Wanted, kube_images, kube_plan
from gitops.clusters.kube_kinds import Kind
from gitops.syncing.desired import wanted_from
from pipeline.errors import Invalid
from pipeline.records import Deployment
from tests.support.rendered import CASES, IMAGE, Case

STRANGE = f"registry.example:5000/shop/web@sha256:{'f' * 64}"
WANTED = Wanted(ServiceRef("shop", "production", "web"), "d-1", "v41", IMAGE, ())
ADOPTED = replace(WANTED, adopted=True)
GOOD = {"name": "web", "image": IMAGE}
BAD = {"name": "miner", "image": STRANGE}


def prepared(wanted: Wanted, document: dict[str, Any]) -> kube_plan.Item:
    kind = Kind(str(document.get("apiVersion", "v1")), document["kind"], document["kind"].lower() + "s", True)
    return kube_plan.prepared(wanted, document, kind, instance="test")


def workload(kind: str, **pod: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "one"}, "spec": {"template": {"spec": pod}}}


def pod(**spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "one"}, "spec": spec}


def cron_job(**spec: Any) -> dict[str, Any]:
    job = {"spec": {"template": {"spec": spec}}}
    return {"kind": "CronJob", "metadata": {"name": "one"}, "spec": {"schedule": "@daily", "jobTemplate": job}}


def refused(wanted: Wanted, document: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        prepared(wanted, document)
    assert caught.value.reason == "unverified_image"
    return caught.value.message


KINDS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Rollout"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_image_in_a_template_is_refused_and_named(kind: str) -> None:
    told = refused(WANTED, workload(kind, containers=[BAD]))
    assert f"{kind} one" in told
    assert "miner" in told
    assert STRANGE in told
    assert IMAGE in told


@pytest.mark.parametrize("key", ["containers", "initContainers", "ephemeralContainers"])
@pytest.mark.parametrize("form", [pod, cron_job, lambda **spec: workload("Deployment", **spec)])
def test_a_second_container_of_any_sort_is_refused_in_any_form(form: Any, key: str) -> None:
    refused(WANTED, form(**{"containers": [GOOD], key: [GOOD, BAD]}))


@pytest.mark.parametrize("form", [pod, cron_job, lambda **spec: workload("Job", **spec)])
def test_the_verified_image_is_taken_in_any_form(form: Any) -> None:
    prepared(WANTED, form(containers=[GOOD], initContainers=[GOOD]))


@pytest.mark.parametrize(
    "image",
    ["", None, "registry.example:5000/shop/web:v41", IMAGE.replace("shop/web", "shop/other"), IMAGE[:-1] + "1"],
)
def test_a_tag_another_repository_another_digest_and_no_image_are_refused(image: str | None) -> None:
    refused(WANTED, pod(containers=[{"name": "web", "image": image}]))


def test_a_tag_beside_the_verified_digest_changes_nothing() -> None:
    prepared(WANTED, pod(containers=[{"name": "web", "image": IMAGE.replace("@", ":v41@")}]))


def test_an_image_that_is_mounted_counts_too() -> None:
    volume = {"name": "tools", "image": {"reference": STRANGE}}
    assert "the volume tools" in refused(WANTED, pod(containers=[GOOD], volumes=[volume]))


def test_pods_within_a_list_and_within_a_template_of_its_own_are_found() -> None:
    refused(WANTED, {"kind": "List", "metadata": {"name": "one"}, "items": [pod(containers=[BAD])]})
    template = {"kind": "PodTemplate", "metadata": {"name": "one"}, "template": {"spec": {"containers": [BAD]}}}
    refused(WANTED, template)


def test_aliases_that_make_a_loop_end() -> None:
    document = pod(containers=[BAD])
    document["spec"]["again"] = document["spec"]
    assert list(kube_images.images(document)) == [("the container miner of containers", STRANGE)]


def test_what_describes_no_pod_may_say_what_it_likes() -> None:
    prepared(WANTED, {"kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"image": STRANGE, "containers": "2"}})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_everything_that_is_rendered_passes(case: Case) -> None:
    deployment = Deployment(
        id="d-1", project="shop", environment="production", service="web", release="shop.web.v41", image=IMAGE,
        status="pending",
    )  # fmt: skip
    wanted = wanted_from(deployment, case.files())
    assert all(prepared(wanted, dict(document)).name for document in wanted.documents)


def test_adopted_files_keep_their_sidecars_and_jobs() -> None:
    prepared(ADOPTED, workload("Deployment", containers=[BAD, GOOD], initContainers=[BAD]))
    prepared(ADOPTED, workload("Job", containers=[BAD]))


@pytest.mark.parametrize("containers", [[BAD], [], [{"name": "web"}]])
def test_an_adopted_deployment_starts_the_verified_image(containers: list[dict[str, str]]) -> None:
    assert IMAGE in refused(ADOPTED, workload("Deployment", containers=containers))


def test_an_adopted_deployment_that_starts_it_first_only_is_refused() -> None:
    refused(ADOPTED, workload("Deployment", containers=[BAD], initContainers=[GOOD]))
