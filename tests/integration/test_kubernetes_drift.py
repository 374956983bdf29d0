"""What others change in the cluster is shown, healed or kept, and a lost inventory is made anew; on real Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gitops.clusters import DriftPolicy, Wanted
from tests.contract.cluster_contract import Service, a_service, until
from tests.integration.test_kubernetes_apply import STAY, config, names, namespace, refused, with_documents, with_spec
from tests.support import kube
from tests.support.kube import KubernetesWorld
from tests.support.kubernetes import found, kubectl


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    with kube.a_world(tmp_path_factory.mktemp("drift")) as made:
        yield made


def test_an_edit_by_hand_is_shown_with_its_author_and_taken_back(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.script(STAY)
            await world.cluster.start(wanted)
            kubectl("-n", namespace(service), "scale", "deployment/web", "--replicas=3")
            await until(lambda: _drifted(world, wanted, "kubectl"))
            await world.cluster.start(wanted)

            assert found(namespace(service), "deployment", "web")["spec"]["replicas"] == 1
            assert await world.cluster.drift(wanted) == ()

    asyncio.run(go())


def test_an_edit_by_hand_is_kept_where_the_environment_says_so(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = replace(service.script(STAY), drift="keep")
            await world.cluster.start(wanted)
            kubectl("-n", namespace(service), "scale", "deployment/web", "--replicas=3")
            await until(lambda: _drifted(world, wanted, "kubectl"))
            await world.cluster.start(wanted)

            assert found(namespace(service), "deployment", "web")["spec"]["replicas"] == 3
            assert await _drifted(world, wanted, "kubectl")

    asyncio.run(go())


def test_a_field_that_somebody_keeps_outlives_the_next_release_and_is_shown_until_it_is_healed(
    world: KubernetesWorld,
) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script(STAY))
            kubectl("-n", namespace(service), "scale", "deployment/web", "--replicas=2")
            changed = replace(with_spec(service.script("exec sleep 2000", "d2"), replicas=3), drift="keep")
            await world.cluster.start(changed)
            there = found(namespace(service), "deployment", "web")["spec"]
            assert there["replicas"] == 2
            assert "sleep 2000" in str(there["template"])
            assert await world.cluster.drift(changed) == ("Deployment web: .spec.replicas is left to another",)

            await world.cluster.start(replace(changed, drift="heal"))
            assert found(namespace(service), "deployment", "web")["spec"]["replicas"] == 3
            assert await world.cluster.drift(changed) == ()

    asyncio.run(go())


def test_the_image_is_never_left_to_another_manager_who_is_told_by_name(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            first = service.wanted("d1", page="one")
            await world.cluster.start(first)
            kubectl("-n", namespace(service), "set", "image", "deployment/web", "*=example.invalid/other:1")
            error = await refused(world, replace(service.wanted("d2", page="two"), drift="keep"))

            assert error.reason == "field_conflict"
            assert ".image belongs to kubectl" in error.message

    asyncio.run(go())


@pytest.mark.parametrize("drift", ["heal", "keep"])
def test_an_inventory_that_somebody_deleted_is_made_anew_and_nothing_is_pruned_wrongly(
    world: KubernetesWorld, drift: DriftPolicy
) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            plain = replace(service.script(STAY), drift=drift)
            wanted = with_documents(plain, config("old", a="1"))
            await world.cluster.start(wanted)
            kubectl("-n", namespace(service), "create", "configmap", "theirs")
            pods = {pod["metadata"]["uid"] for pod in found(namespace(service), "pods")["items"]}
            kubectl("-n", namespace(service), "delete", "configmap", "enclii-inventory-web")
            if drift == "heal":
                await until(lambda: _drift_of(world, wanted))
                assert await world.cluster.drift(wanted) == ("ConfigMap enclii-inventory-web: was deleted",)
                await world.cluster.start(wanted)
            await until(lambda: _rebuilt(world, service, wanted))

            assert await world.cluster.drift(wanted) == ()
            assert {pod["metadata"]["uid"] for pod in found(namespace(service), "pods")["items"]} == pods
            await world.cluster.start(plain)
            assert {"theirs", "enclii-inventory-web"} == names(service) - {"kube-root-ca.crt"}

    asyncio.run(go())


async def _rebuilt(world: KubernetesWorld, service: Service, wanted: Wanted) -> bool:
    await world.cluster.drift(wanted)
    return "enclii-inventory-web" in names(service)


def test_a_service_without_its_inventory_is_removed_whole(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(with_documents(service.script(STAY), config("mine", a="1")))
            kubectl("-n", namespace(service), "delete", "configmap", "enclii-inventory-web")
            await until(lambda: _drift_of(world, service.script(STAY)))
            await world.cluster.remove(service.ref, grace=0)

            assert await world.left(service.ref) == []

    asyncio.run(go())


def test_a_kustomization_is_not_rendered_and_says_who_would(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            strange = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "images": []}
            error = await refused(world, with_documents(service.script(STAY), strange))

            assert error.reason == "rendered_elsewhere"
            assert "Argo CD or Flux" in error.message

    asyncio.run(go())


async def _drift_of(world: KubernetesWorld, wanted: Wanted) -> bool:
    return bool(await world.cluster.drift(wanted))


async def _drifted(world: KubernetesWorld, wanted: Wanted, manager: str) -> bool:
    return any(f"was changed by {manager}" in line for line in await world.cluster.drift(wanted))
