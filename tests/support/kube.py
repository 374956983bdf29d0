"""The kit's real Kubernetes for a test: an adapter on it, requests of the test's own, and nothing left afterwards.

The cluster is started by whoever runs the tests; each test module has an instance and namespaces of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from ruamel.yaml import YAML

from gitops.clusters import ServiceRef, Wanted
from gitops.clusters.kube_login import Access, login
from gitops.clusters.kubernetes import Kubernetes
from tests.support.components import needs
from tests.support.kubernetes import found, kubectl
from tests.support.pages import Pages
from tests.support.registry import running_registry


def kubeconfig() -> Path:
    """The administrator's kubeconfig of the cluster; skips or fails the test when none is up."""
    return Path(needs("kubernetes"))


def config(folder: Path, *, server: str = "", token: str = "") -> Path:
    """A kubeconfig like the kit's, by way of another address or as somebody else."""
    found: dict[str, Any] = YAML(typ="safe").load(kubeconfig().read_text())
    if server:
        found["clusters"][0]["cluster"]["server"] = server
    if token:
        found["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(found))
    return path


def adapter(
    instance: str,
    *,
    access: Access | None = None,
    pod_security: Literal["restricted", "baseline", "privileged"] = "privileged",
    **more: Any,
) -> Kubernetes:
    """A Kubernetes of that instance, to be closed by the caller within its loop."""
    found = login(access or Access(kubeconfig=kubeconfig()))
    return Kubernetes(found, instance=instance, pod_security=pod_security, **more)


@contextmanager
def an_instance(prefix: str) -> Iterator[str]:
    """A name for one installation; every namespace that it made is deleted afterwards."""
    instance = f"{prefix}-{uuid4().hex[:8]}"
    try:
        yield instance
    finally:
        kubectl("delete", "namespaces", "-l", f"enclii.dev/instance={instance}", "--wait=false")


ROOT = Path(__file__).parents[2]
LEFT = "deployments,replicasets,pods,configmaps,services"


@dataclass
class KubernetesWorld(Pages):
    """One instance on the kit's cluster and one registry; the adapter belongs to the test's event loop."""

    instance: str
    registry: str
    pages: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    _cluster: Kubernetes | None = None

    @property
    def cluster(self) -> Kubernetes:
        if self._cluster is None:
            self._cluster = adapter(self.instance, **self.more)
        return self._cluster

    @property
    def pod(self) -> dict[str, Any]:
        return {"terminationGracePeriodSeconds": 1}

    @property
    def streams(self) -> bool:
        return False

    async def interrupt_start(self, wanted: Wanted) -> None:
        """Leave what a start that was killed leaves: a namespace and an inventory of what is not there yet."""
        task = asyncio.ensure_future(self.cluster.start(wanted))
        namespace = f"{wanted.ref.project}-{wanted.ref.environment}"
        while not task.done() and not kubectl("get", "namespace", namespace, "--ignore-not-found"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.close()

    async def left(self, ref: ServiceRef) -> list[str]:
        there = found(f"{ref.project}-{ref.environment}", LEFT, "-l", f"enclii.dev/service={ref.service}")
        return [f"{item['kind']} {item['metadata']['name']}" for item in there["items"]]

    async def close(self) -> None:
        if self._cluster is not None:
            await self._cluster.close()
            self._cluster = None


@contextmanager
def a_world(folder: Path, **more: Any) -> Iterator[KubernetesWorld]:
    """An instance of its own on the kit's cluster, with a registry."""
    needs("kubernetes", "kubectl", "buildah", "docker-registry", "busybox")
    with an_instance("test") as instance, running_registry(folder / "registry") as registry:
        yield KubernetesWorld(instance, registry, more=more)


@dataclass(frozen=True)
class Account:
    """A service account, in a namespace of its own name."""

    name: str
    token: str


@contextmanager
def shipped_rights() -> Iterator[Account]:
    """The syncer's account with what ``manifests/rbac`` gives, under names of its own."""
    name = f"c-syncer-{uuid4().hex[:8]}"
    text = "---\n".join((ROOT / "manifests/rbac" / f"{one}.yaml").read_text() for one in ("syncer", "previews"))
    text = text.replace("enclii-syncer", name).replace("enclii-exec", f"{name}-exec")
    text = text.replace("enclii-preview", f"{name}-preview").replace(
        "serviceaccount:enclii:", f"serviceaccount:{name}:"
    )
    text = text.replace("namespace: enclii", f"namespace: {name}").replace("name: enclii\n", f"name: {name}\n")
    kubectl("apply", "-f", "-", stdin=text)
    try:
        yield Account(name, kubectl("-n", name, "create", "token", name).strip())
    finally:
        kubectl("delete", "-f", "-", "--wait=false", stdin=text)
