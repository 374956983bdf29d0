"""A Deployment that runs already comes under management on the kit's real cluster, and nothing of it restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ruamel.yaml import YAML

from gitops import emit
from gitops.clusters import ServiceRef, Wanted
from gitops.clusters.relay import AskManifest, Relay, Relayed
from gitops.syncing.placement import Clusters
from pipeline.bus import connect
from pipeline.errors import Refused, Unavailable
from pipeline.records import Environment, Project
from tests.contract.cluster_contract import LIMIT
from tests.support import kube
from tests.support.kube import KubernetesWorld
from tests.support.kubernetes import found, kubectl
from tests.support.nats import running_nats


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    with kube.a_world(tmp_path_factory.mktemp("adopt")) as made:
        yield made


@dataclass(frozen=True)
class Theirs:
    """What somebody runs in a namespace of theirs."""

    namespace: str

    def deployment(self) -> dict[str, Any]:
        (one,) = found(self.namespace, "deployments")["items"]
        return dict(one)

    def pods(self) -> set[str]:
        return {item["metadata"]["uid"] for item in found(self.namespace, "pods")["items"]}


@contextlib.contextmanager
def theirs(world: KubernetesWorld, **environment: str) -> Iterator[Theirs]:
    """A Deployment made by ``kubectl apply``, with labels of its own."""
    namespace = f"d-adopt-{uuid4().hex[:8]}"
    env = [{"name": name, "value": value} for name, value in environment.items()]
    container = {"name": "web", "image": world.image("old"), "ports": [{"containerPort": 8080}], "env": env}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
        },
    }
    kubectl("create", "namespace", namespace)
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps(document))
        kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=300s")
        yield Theirs(namespace)
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


async def manifest(world: KubernetesWorld, namespace: str) -> dict[str, Any]:
    """As git would hold it: written, and read again."""
    text = emit.document(await world.cluster.manifest(namespace, "web"))
    return dict(YAML(typ="safe", pure=True).load(text.decode()))


def test_the_manifest_says_what_runs_so_that_applying_it_changes_no_pod(world: KubernetesWorld) -> None:
    async def go(there: Theirs) -> None:
        before, pods = there.deployment(), there.pods()
        document = await manifest(world, there.namespace)
        assert set(document["metadata"]) == {"name"}
        server_side = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        kubectl("-n", there.namespace, *server_side, stdin=json.dumps(document))

        assert there.deployment()["spec"] == before["spec"]
        assert there.pods() == pods
        await world.close()

    with theirs(world, LEVEL="info") as there:
        asyncio.run(go(there))


def test_the_first_release_takes_the_deployment_over_and_only_where_it_was_adopted(world: KubernetesWorld) -> None:
    async def go(there: Theirs) -> None:
        old, new = world.image("old"), world.image("new")
        text = json.dumps(await manifest(world, there.namespace)).replace(old, new)
        ref = ServiceRef(f"shop-{uuid4().hex[:8]}", "production", "web")
        stranger = Wanted(ref, "d1", "v1", new, (json.loads(text),), namespace=there.namespace)
        with pytest.raises(Refused) as caught:
            await world.cluster.start(stranger)
        assert caught.value.reason == "not_ours"

        released = replace(stranger, adopted=True)
        await world.cluster.start(released)
        await world.cluster.wait_healthy(released, timeout=LIMIT)
        seen = (await world.cluster.observe(ref))[0]
        assert [one.digest for one in seen.replicas] == [released.digest]
        assert there.deployment()["spec"]["selector"] == {"matchLabels": {"app": "web"}}
        await world.cluster.remove(ref, grace=0)
        await world.close()

    with theirs(world) as there:
        asyncio.run(go(there))


def test_values_that_look_like_secrets_are_refused_by_name_alone(world: KubernetesWorld) -> None:
    async def go(there: Theirs) -> None:
        with pytest.raises(Refused) as caught:
            await world.cluster.manifest(there.namespace, "web")
        assert caught.value.reason == "plain_secret"
        assert "DATABASE_PASSWORD" in caught.value.message
        assert "hunter2" not in caught.value.message
        await world.close()

    with theirs(world, DATABASE_PASSWORD="hunter2") as there:
        asyncio.run(go(there))


async def answered(relayed: Relayed, asked: AskManifest) -> str:
    """The answer, once the other side listens."""
    async with asyncio.timeout(LIMIT):
        while True:
            with contextlib.suppress(Unavailable):
                return await relayed.manifest(asked)
            await asyncio.sleep(0.05)


async def nothing(_: ServiceRef) -> tuple[str, ...]:
    return ()


def test_the_syncer_hands_it_out_where_the_environment_is_bound_there(world: KubernetesWorld, tmp_path: Path) -> None:
    async def go(there: Theirs, url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        clusters = Clusters("office", lambda: {"office": lambda: world.cluster})
        relay = asyncio.create_task(Relay(bus, clusters, nothing).run())
        asked = AskManifest(
            project="shop", environment="production", service="web", cluster="office",
            namespace=there.namespace, name="web",
        )  # fmt: skip
        try:
            with pytest.raises(Refused) as caught:
                await answered(Relayed(bus), asked)
            assert caught.value.reason == "another_place"
            bound = Environment(name="production", branch="main", cluster="office", namespace=there.namespace)
            clusters.learn(Project(slug="shop", environments=(bound,)))
            assert world.image("old") in await Relayed(bus).manifest(asked)
        finally:
            relay.cancel()
            await asyncio.gather(relay, return_exceptions=True)
            await clusters.close()
            await world.close()
            await bus.close()

    with running_nats(tmp_path) as url, theirs(world) as there:
        asyncio.run(go(there, url))
