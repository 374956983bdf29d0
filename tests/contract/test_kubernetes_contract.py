"""Kubernetes keeps the cluster contract, on the kit's real cluster, with real images from a real registry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitops.clusters import Replica, ServiceRef, Wanted
from gitops.clusters.kubernetes import Kubernetes
from tests.contract.cluster_contract import *  # noqa: F403 - the contract's tests are collected here
from tests.support import kube, kubernetes
from tests.support.components import needs
from tests.support.images import push_sample
from tests.support.registry import running_registry

LEFT = "deployments,replicasets,pods,configmaps,services"


@dataclass
class KubernetesWorld:
    """One instance on the kit's cluster and one registry; the adapter belongs to the test's event loop."""

    instance: str
    registry: str
    pages: dict[str, str] = field(default_factory=dict)
    _cluster: Kubernetes | None = None

    @property
    def cluster(self) -> Kubernetes:
        if self._cluster is None:
            self._cluster = kube.adapter(self.instance)
        return self._cluster

    @property
    def pod(self) -> dict[str, Any]:
        return {"terminationGracePeriodSeconds": 1}

    @property
    def streams(self) -> bool:
        return False

    def image(self, page: str) -> str:
        if page not in self.pages:
            repository = f"shop/{self.instance}"
            self.pages[page] = f"{self.registry}/{repository}@{push_sample(self.registry, repository, page=page)}"
        return self.pages[page]

    async def fetch(self, replica: Replica) -> str:
        assert replica.address is not None
        host, _, port = replica.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        body = await reader.read()
        writer.close()
        await writer.wait_closed()
        return body.decode()

    async def interrupt_start(self, wanted: Wanted) -> None:
        """Leave what a start that was killed leaves: a namespace and an inventory of what is not there yet."""
        task = asyncio.ensure_future(self.cluster.start(wanted))
        namespace = f"{wanted.ref.project}-{wanted.ref.environment}"
        while not task.done() and not kubernetes.kubectl("get", "namespace", namespace, "--ignore-not-found"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.close()

    async def left(self, ref: ServiceRef) -> list[str]:
        found = kubernetes.found(f"{ref.project}-{ref.environment}", LEFT, "-l", f"enclii.dev/service={ref.service}")
        return [f"{item['kind']} {item['metadata']['name']}" for item in found["items"]]

    async def close(self) -> None:
        if self._cluster is not None:
            await self._cluster.close()
            self._cluster = None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesWorld]:
    needs("kubernetes", "kubectl", "buildah", "docker-registry", "busybox")
    folder: Path = tmp_path_factory.mktemp("kubernetes")
    with kube.an_instance("contract") as instance, running_registry(folder / "registry") as registry:
        yield KubernetesWorld(instance, registry)
