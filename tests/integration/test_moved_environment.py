"""An environment that moves: what is left on the old cluster is told by ``doctor``, with the way out."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gitops.clusters import Finding, ServiceRef, Wanted
from gitops.syncing.placement import Clusters
from pipeline.records import Environment, Project
from tests.contract.cluster_contract import LIMIT, a_service, until
from tests.support import kube
from tests.support.kube import KubernetesWorld
from tests.support.kubernetes import found, kubectl

STAY = "exec sleep 1000"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    with kube.a_world(tmp_path_factory.mktemp("moved")) as made:
        yield made


def bound(clusters: Clusters, ref: ServiceRef, cluster: str) -> None:
    clusters.learn(
        Project(slug=ref.project, environments=(Environment(name="production", branch="", cluster=cluster),))
    )


async def warnings(clusters: Clusters) -> list[Finding]:
    return [one for one in await clusters.check() if one.level == "warning"]


def test_what_is_left_on_the_old_cluster_is_told_with_the_command_that_ends_it(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            clusters = Clusters("podman", lambda: {"old": lambda: world.cluster})
            bound(clusters, service.ref, "old")
            wanted = service.script(STAY)
            there = await clusters.of(service.ref)
            await there.start(wanted)
            await there.wait_healthy(wanted, timeout=LIMIT)
            assert await warnings(clusters) == []

            bound(clusters, service.ref, "new")
            (told,) = await warnings(clusters)
            assert "is on new now" in told.message
            kubectl(*shlex.split(told.fix.partition("kubectl ")[2]))
            await until(lambda: _none(clusters))

    asyncio.run(go())


async def _none(clusters: Clusters) -> bool:
    return await warnings(clusters) == []


def test_a_cluster_with_two_names_has_left_nothing_behind(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            clusters = Clusters("podman", lambda: {"old": lambda: world.cluster, "new": lambda: world.cluster})
            bound(clusters, service.ref, "old")
            there, wanted = await clusters.of(service.ref), service.script(STAY)
            await there.start(wanted)
            await there.wait_healthy(wanted, timeout=LIMIT)
            bound(clusters, service.ref, "new")
            await clusters.of(service.ref)

            assert await warnings(clusters) == []

    asyncio.run(go())


def test_a_namespace_that_changes_takes_the_service_along_once_it_runs_there(world: KubernetesWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted, keep = service.script(STAY), frozenset({"d1"})
            old = f"{service.ref.project}-production"
            await world.cluster.start(wanted)
            await world.cluster.wait_healthy(wanted, timeout=LIMIT)
            moved = replace(wanted, namespace=f"{service.ref.project}-elsewhere")
            kubectl("create", "namespace", moved.namespace)
            kubectl("label", "namespace", moved.namespace, f"enclii.dev/instance={world.instance}")
            kubectl("-n", moved.namespace, "create", "quota", "none", "--hard=pods=0")
            await world.cluster.start(moved)
            await until(lambda: _says(world, moved, "quota"))
            await world.cluster.stop(service.ref, keep=keep, grace=0)
            assert ready(old) == 1

            kubectl("-n", moved.namespace, "delete", "quota", "none")
            await world.cluster.wait_healthy(moved, timeout=LIMIT)
            assert ready(old) == 1
            await world.cluster.stop(service.ref, keep=keep, grace=0)
            await until(lambda: _nothing_left(world, service.ref))
            assert ready(moved.namespace) == 1
            assert (await world.cluster.healthy(moved)).status == "healthy"

    asyncio.run(go())


def ready(namespace: str) -> int:
    return int(found(namespace, "deployment", "web")["status"].get("readyReplicas", 0))


async def _says(world: KubernetesWorld, wanted: Wanted, reason: str) -> bool:
    return (await world.cluster.healthy(wanted)).reason == reason


async def _nothing_left(world: KubernetesWorld, ref: ServiceRef) -> bool:
    return await world.left(ref) == []
