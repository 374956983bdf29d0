"""Argo CD brings the cluster to the same observed states as our own syncer: the contract on the kit's real Argo CD.

What the committer does for real is done here by the world: the wanted documents are committed and pushed, and Argo CD
reads them from git.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gitops import emit
from gitops.clusters import DeadLog, Health, ServiceRef, Wanted, kube_plan
from gitops.clusters.argocd import ArgoCD
from gitops.clusters.kube_login import Access, login
from gitops.clusters.tools import Synced, unit_of
from gitops.wiring import Source
from tests.contract.cluster_contract import *  # noqa: F403 - the contract's tests are collected here
from tests.contract.cluster_contract import LIMIT, a_service, gives_up
from tests.contract.test_kubernetes_contract import KubernetesWorld
from tests.support import argocd, kube
from tests.support.components import needs
from tests.support.forge import running_forge
from tests.support.kubernetes import kubectl
from tests.support.registry import running_registry


@dataclass
class Config:
    """The config repository: a working copy, and a bare repository that git's own HTTP program serves."""

    folder: Path
    url: str
    commits: dict[tuple[ServiceRef, str], str] = field(default_factory=dict)

    def commit(self, wanted: Wanted) -> str:
        """Write the service's directory and push it; the commit's id."""
        folder = self.folder / unit_of(wanted.ref).place.path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hold.yaml").write_text("by: somebody\n")
        for document in wanted.documents:
            (folder / f"{document['kind'].lower()}.yaml").write_bytes(emit.document(as_rendered(wanted, document)))
        self.commits[wanted.ref, wanted.deployment] = self._push(f"Deploy {wanted.deployment}")
        return self.commits[wanted.ref, wanted.deployment]

    def remove(self, ref: ServiceRef) -> None:
        """Delete the directory, if there is one."""
        path = unit_of(ref).place.path
        if (self.folder / path).exists():
            self._git("rm", "-rqf", path)
            self._push(f"Remove {ref}")

    def includes(self, revision: str, commit: str) -> bool:
        found = self._git("merge-base", "--is-ancestor", commit, revision, check=False) if commit else None
        return found is not None and found.returncode == 0

    def _push(self, message: str) -> str:
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", message)
        self._git("push", "-q", "origin", "HEAD:main")
        return self._git("rev-parse", "HEAD").stdout.decode().strip()

    def _git(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        identity = ("-c", "user.name=deployer", "-c", "user.email=deployer@example.test")
        return subprocess.run(
            ("git", "-C", str(self.folder), *identity, *words), capture_output=True, check=check, timeout=LIMIT
        )


def as_rendered(wanted: Wanted, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as Enclii writes it into git: labelled, with its release, and rolling."""
    labels = kube_plan.service_labels(wanted.ref)
    metadata = {**document["metadata"], "labels": labels}
    if document["kind"] != "Deployment":
        return {"apiVersion": "v1", **document, "metadata": metadata}
    annotations = {"enclii.dev/release": f"{wanted.ref.project}.{wanted.ref.service}.{wanted.release}"}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": document["spec"]["template"]["spec"],
    }
    spec = {"strategy": dict(kube_plan.SURGE), **document["spec"], "selector": {"matchLabels": labels}}
    return {**document, "metadata": {**metadata, "annotations": annotations}, "spec": {**spec, "template": template}}


class Committed(Synced):
    """The adapter with the committer's part before it."""

    config: Config

    async def start(self, wanted: Wanted) -> None:
        await asyncio.to_thread(self.config.commit, wanted)
        await super().start(self._known(wanted))

    async def healthy(self, wanted: Wanted) -> Health:
        return await super().healthy(self._known(wanted))

    async def remove(self, ref: ServiceRef, *, grace: float = 10.0) -> list[DeadLog]:
        await asyncio.to_thread(self.config.remove, ref)
        return await super().remove(ref, grace=grace)

    def _known(self, wanted: Wanted) -> Wanted:
        return replace(wanted, revision=self.config.commits.get((wanted.ref, wanted.deployment), ""))


@dataclass
class ArgoWorld(KubernetesWorld):
    """The same cluster, synced by Argo CD."""

    tool: Any = None
    config: Any = None

    @property
    def cluster(self) -> Committed:
        if self._cluster is None:
            access = login(Access(kubeconfig=kube.kubeconfig()))
            made = Committed(access, self.tool(), instance=self.instance, pod_security="privileged")
            made.config = self.config
            self._cluster = made
        assert isinstance(self._cluster, Committed)
        return self._cluster

    async def left(self, ref: ServiceRef) -> list[str]:
        selector = f"enclii.dev/project={ref.project}"
        found = kubectl("-n", argocd.NAMESPACE, "get", "applications", "-l", selector, "-o", "name").split()
        return [*await super().left(ref), *found]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoWorld]:
    needs("argo-cd", "kubernetes", "kubectl", "buildah", "docker-registry", "busybox", "git")
    folder: Path = tmp_path_factory.mktemp("argocd")
    with contextlib.ExitStack() as held:
        instance = held.enter_context(kube.an_instance("argocd"))
        registry = held.enter_context(running_registry(folder / "registry"))
        forge = held.enter_context(running_forge(folder / "forge"))
        config = a_copy(folder / "copy", forge.repository, forge.bare)
        source = Source(forge.repository)
        site = held.enter_context(argocd.a_project(source))

        def tool() -> ArgoCD:
            async def includes(revision: str, commit: str) -> bool:
                return await asyncio.to_thread(config.includes, revision, commit)

            access = argocd.access(folder)
            return ArgoCD(access, site, source, includes=includes, instance=instance, pod_security="privileged")

        yield ArgoWorld(instance, registry, tool=tool, config=config)


def a_copy(folder: Path, url: str, bare: Path) -> Config:
    subprocess.run(("git", "clone", "-q", str(bare), str(folder)), check=True, capture_output=True)
    return Config(folder, url)


def test_what_the_api_server_refuses_is_told_in_its_words(world: ArgoWorld) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            good = service.wanted("d1")
            await world.cluster.start(good)
            await world.cluster.wait_healthy(good, timeout=LIMIT)
            bad = refused(service.wanted("d2"))
            given_up = await gives_up(world, bad, "sync_failed")

            assert 'Unsupported value: "Sometimes"' in given_up.message
            (replica,) = [one for seen in await world.cluster.observe(service.ref) for one in seen.replicas]
            assert replica.state == "ready"

    asyncio.run(go())


def refused(wanted: Wanted) -> Wanted:
    """The same with a value that no API server takes."""
    (document,) = wanted.documents
    pod = {**document["spec"]["template"]["spec"], "restartPolicy": "Sometimes"}
    return replace(wanted, documents=({**document, "spec": {**document["spec"], "template": {"spec": pod}}},))
