"""What the adapter applies, what it takes back, and what it refuses, on the kit's real Kubernetes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gitops.clusters import Wanted, kube_plan
from gitops.clusters.kube_kinds import KNOWN
from pipeline.errors import EncliiError, Invalid, Refused, Unavailable
from tests.contract.cluster_contract import LIMIT, Service, a_service, gives_up, until
from tests.support import kube
from tests.support.kube import KubernetesWorld
from tests.support.kubernetes import found, kubectl

STAY = "exec sleep 1000"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    with kube.a_world(tmp_path_factory.mktemp("apply")) as made:
        yield made


def namespace(service: Service) -> str:
    return f"{service.ref.project}-production"


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def with_documents(wanted: Wanted, *more: dict[str, Any]) -> Wanted:
    return replace(wanted, documents=(*wanted.documents, *more))


def with_spec(wanted: Wanted, **spec: Any) -> Wanted:
    (document,) = wanted.documents
    return replace(wanted, documents=({**document, "spec": {**document["spec"], **spec}},))


async def refused(world: KubernetesWorld, wanted: Wanted) -> EncliiError:
    with pytest.raises(EncliiError) as caught:
        await world.cluster.start(wanted)
    return caught.value


def names(service: Service) -> set[str]:
    return {item["metadata"]["name"] for item in found(namespace(service), "configmaps")["items"]}


def test_what_git_has_no_more_is_removed_and_nothing_else(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = service.script(STAY)
            await world.cluster.start(with_documents(plain, config("mine", a="1")))
            kubectl("-n", namespace(service), "create", "configmap", "theirs")
            assert {"mine", "theirs"} <= names(service)
            await world.cluster.start(plain)

            assert "mine" not in names(service)
            assert "theirs" in names(service)

    asyncio.run(go())


def test_an_unchanged_service_costs_no_request(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = with_documents(service.script(STAY), config("settings", a="1"))
            await world.cluster.start(wanted)
            before = world.cluster.api.requests
            await world.cluster.start(wanted)

            assert world.cluster.api.requests == before

    asyncio.run(go())


def test_an_object_that_somebody_else_made_is_not_taken_over(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script(STAY))
            kubectl("-n", namespace(service), "create", "configmap", "theirs", "--from-literal=a=1")
            error = await refused(world, with_documents(service.script(STAY, "d2"), config("theirs", a="2")))

            assert isinstance(error, Refused)
            assert error.reason == "not_ours"

    asyncio.run(go())


def test_what_was_refused_as_somebody_elses_is_never_deleted(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = service.script(STAY)
            await world.cluster.start(plain)
            kubectl("-n", namespace(service), "create", "configmap", "theirs", "--from-literal=a=1")
            await refused(world, with_documents(service.script(STAY, "d2"), config("theirs", a="2")))
            await world.cluster.start(plain)

            assert "theirs" in names(service)

    asyncio.run(go())


def test_an_object_of_a_neighbour_is_never_deleted(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = service.script(STAY)
            await world.cluster.start(plain)
            other = replace(service, ref=replace(service.ref, service="api"))
            (document,) = other.script(STAY).documents
            theirs = replace(other.script(STAY), documents=(document, config("shared", a="1")))
            await world.cluster.start(theirs)
            error = await refused(world, with_documents(service.script(STAY, "d2"), config("shared", a="2")))
            assert error.reason == "not_ours"
            await world.cluster.start(plain)

            assert "shared" in names(service)
            await world.cluster.remove(other.ref, grace=0)

    asyncio.run(go())


def test_an_object_whose_label_somebody_took_away_is_left_alone(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = service.script(STAY)
            await world.cluster.start(with_documents(plain, config("kept", a="1")))
            kubectl("-n", namespace(service), "label", "configmap", "kept", "enclii.dev/instance-")
            await until(lambda: _drift_of(world, with_documents(plain, config("kept", a="1"))))
            await world.cluster.start(plain)

            assert "kept" in names(service)

    asyncio.run(go())


def test_an_apply_that_came_late_is_put_right(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            late, wanted = service.wanted("d1", page="old"), service.wanted("d2", page="new")
            await world.cluster.start(wanted)
            item = kube_plan.prepared(late, late.documents[0], KNOWN["apps/v1", "Deployment"], instance=world.instance)
            sent = ("apply", "--server-side", "--field-manager=enclii", "--force-conflicts", "-f", "-")
            kubectl(*sent, stdin=json.dumps(item.document))
            await until(lambda: _says(world, wanted, "not_applied"))
            await world.cluster.start(wanted)

            await world.cluster.wait_healthy(wanted, timeout=LIMIT)

    asyncio.run(go())


def test_a_field_that_cannot_change_names_a_way_out(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script(STAY))
            selector = {"matchLabels": {"enclii.dev/service": "web"}}
            error = await refused(world, with_spec(service.script(STAY, "d2"), selector=selector))

            assert error.reason == "immutable_field"
            assert "delete the object" in error.message

    asyncio.run(go())


def test_a_kind_that_the_cluster_does_not_have_is_told_before_anything_is_applied(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            strange = {"apiVersion": "example.test/v1", "kind": "Wish", "metadata": {"name": "one"}}
            error = await refused(world, with_documents(service.script(STAY), strange))

            assert (type(error), error.reason) == (Invalid, "crd_missing")
            assert await world.cluster.observe(service.ref) == []

    asyncio.run(go())


def test_a_pod_of_another_image_is_refused_before_anything_is_applied(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            containers = [{"name": "miner", "image": world.image("another")}]
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": {"containers": containers}}
            error = await refused(world, with_documents(service.script(STAY), pod))

            assert (type(error), error.reason) == (Invalid, "unverified_image")
            assert await world.cluster.observe(service.ref) == []

    asyncio.run(go())


def test_a_namespace_that_is_being_deleted_is_tried_again_later(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script(STAY))
            held = {**config("held"), "metadata": {"name": "held", "finalizers": ["enclii.dev/test"]}}
            kubectl("-n", namespace(service), "create", "-f", "-", stdin=json.dumps(held))
            kubectl("delete", "namespace", namespace(service), "--wait=false")
            try:
                error = await refused(world, with_documents(service.script(STAY, "d2"), config("late")))
                assert (type(error), error.reason) == (Unavailable, "namespace_terminating")
            finally:
                free = json.dumps({"metadata": {"finalizers": None}})
                kubectl("-n", namespace(service), "patch", "configmap", "held", "--type=merge", "-p", free)

    asyncio.run(go())


def test_a_quota_is_told_in_the_clusters_words(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.script(STAY)
            kubectl("create", "namespace", namespace(service))
            kubectl("label", "namespace", namespace(service), f"enclii.dev/instance={world.instance}")
            kubectl("-n", namespace(service), "create", "quota", "none", "--hard=pods=0")
            await world.cluster.start(wanted)
            await until(lambda: _says(world, wanted, "quota"))

            assert "exceeded quota: none" in ((await world.cluster.healthy(wanted)).detail or "")

    asyncio.run(go())


def test_a_pod_that_admission_refuses_is_told_in_its_words(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.script(STAY)
            kubectl("create", "namespace", namespace(service))
            label = "pod-security.kubernetes.io/enforce=restricted"
            kubectl("label", "namespace", namespace(service), f"enclii.dev/instance={world.instance}", label)
            await world.cluster.start(wanted)
            await until(lambda: _says(world, wanted, "admission_refused"))

            assert "violates PodSecurity" in ((await world.cluster.healthy(wanted)).detail or "")

    asyncio.run(go())


def test_a_pod_that_fits_nowhere_is_unschedulable(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.wanted(resources={"requests": {"cpu": "500"}}, command=["/bin/sleep", "1000"])
            await world.cluster.start(wanted)
            await until(lambda: _says(world, wanted, "unschedulable"))

            assert "Insufficient cpu" in ((await world.cluster.healthy(wanted)).detail or "")

    asyncio.run(go())


def test_a_container_that_needs_too_much_memory_is_told_as_such(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            eat = ["/bin/busybox", "sh", "-c", "x=a; while true; do x=$x$x; done"]
            wanted = service.wanted(resources={"limits": {"memory": "16Mi"}}, command=eat)
            await world.cluster.start(wanted)
            await until(lambda: _says(world, wanted, "oom"))

    asyncio.run(go())


def test_a_container_that_runs_first_and_fails_is_named_with_its_last_words(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = service.script(STAY)
            command = ["/bin/sh", "-c", "echo no such table; exit 4"]
            first = {"name": "prepare", "image": plain.image, "command": command}
            (document,) = plain.documents
            pod = {**document["spec"]["template"]["spec"], "initContainers": [first]}
            error = await gives_up(world, with_spec(plain, template={"spec": pod}), "crash_loop", about="no such table")

            assert "prepare exits again and again, last with code 4" in error.message

    asyncio.run(go())


@pytest.mark.parametrize(
    ("field", "said"),
    [({"replicsa": 3}, ".spec.replicsa: field not declared in schema"), ({"replicas": "many"}, ".spec.replicas")],
)
def test_a_document_that_the_cluster_cannot_read_is_refused_and_not_tried_for_ever(
    world: KubernetesWorld, field: dict[str, Any], said: str
) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            error = await refused(world, with_spec(service.script(STAY), **field))

            assert isinstance(error, Invalid)
            assert error.reason == "refused_by_cluster"
            assert said in error.message

    asyncio.run(go())


def test_a_container_that_a_probe_ends_is_told_in_the_probes_words(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            missing = {"httpGet": {"path": "/missing", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
            wanted = service.wanted(livenessProbe=missing, readinessProbe=missing)
            await world.cluster.start(wanted)
            await until(lambda: _says(world, wanted, "unhealthy", about="is ended for it again and again"))

            said = (await world.cluster.healthy(wanted)).detail or ""
            assert "Liveness probe failed: HTTP probe failed with statuscode: 404" in said

    asyncio.run(go())


def test_a_missing_secret_is_named(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            key = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "not-there", "key": "a"}}}
            wanted = service.wanted(env=[key], command=["/bin/sleep", "1000"])
            await world.cluster.start(wanted)
            await until(lambda: _says(world, wanted, "config_missing"))

            assert "not-there" in ((await world.cluster.healthy(wanted)).detail or "")

    asyncio.run(go())


def job(image: str, text: str) -> dict[str, Any]:
    container = {"name": "web", "image": image, "command": ["/bin/sh", "-c", text]}
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web-release-1"}, "spec": spec}


def test_a_release_job_runs_once_even_if_somebody_deletes_it(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = service.script(STAY)
            wanted = with_documents(plain, job(plain.image, "echo migrated"))
            await world.cluster.start(wanted)
            kubectl("-n", namespace(service), "delete", "job", "web-release-1")
            await world.cluster.start(wanted)

            assert found(namespace(service), "jobs")["items"] == []
            assert await world.cluster.drift(wanted) == ()

    asyncio.run(go())


def test_a_release_job_that_fails_stops_the_rollout_with_its_last_words(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = service.script(STAY)
            error = await refused(world, with_documents(plain, job(plain.image, "echo no such table; exit 3")))

            assert error.reason == "release_failed"
            assert "no such table" in error.message
            assert await world.cluster.observe(service.ref) == []

    asyncio.run(go())


def test_the_difference_is_told_without_making_it(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = with_documents(service.script(STAY), config("old"))
            await world.cluster.start(wanted)
            new = with_documents(with_spec(service.script(STAY), replicas=2), config("new"))
            lines = await world.cluster.difference(new)

            assert lines == ("~ Deployment web .spec.replicas: 1 -> 2", "+ ConfigMap new", "- ConfigMap old")
            assert await world.cluster.difference(wanted) == ()

    asyncio.run(go())


async def _drift_of(world: KubernetesWorld, wanted: Wanted) -> bool:
    return bool(await world.cluster.drift(wanted))


async def _says(world: KubernetesWorld, wanted: Wanted, reason: str, *, about: str = "") -> bool:
    health = await world.cluster.healthy(wanted)
    return health.reason == reason and about in (health.detail or "")
