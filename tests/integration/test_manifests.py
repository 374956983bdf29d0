"""What is rendered is accepted by a real API server under Pod Security "restricted", and really runs there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.servicefile import ReleaseJob, ServiceSpec
from tests.support.components import needs
from tests.support.images import push_sample
from tests.support.kubernetes import found, kubectl, restricted_namespace
from tests.support.registry import running_registry
from tests.support.rendered import CASES, Case

NOT_HERE = {"HTTPRoute", "ExternalSecret"}
"""Kinds of custom resources: a cluster without them refuses them, so their schema is checked elsewhere."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with restricted_namespace("d-manifests") as name:
        yield name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_manifest_is_accepted_under_restricted(namespace: str, case: Case) -> None:
    for name, data in case.files().items():
        if any(f"kind: {kind}\n".encode() in data for kind in NOT_HERE):
            continue
        said = kubectl(
            "-n", namespace, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
            stdin=data.decode(),
        )  # fmt: skip
        assert "serverside-applied" in said, name
        assert "violate PodSecurity" not in said, name


@pytest.mark.parametrize("user", ["1000", ""])
def test_a_rendered_service_becomes_ready_and_its_release_job_succeeds(tmp_path: Path, user: str) -> None:
    needs("buildah", "busybox", "docker-registry")
    with running_registry(tmp_path) as registry, restricted_namespace("d-runs") as namespace:
        repository = f"shop/{namespace}"
        image = f"{registry}/{repository}@{push_sample(registry, repository, page='hello', user=user)}"
        release = ReleaseJob(command=("/bin/sh", "-c", "test $(/bin/busybox id -u) != 0"))
        spec = ServiceSpec(name="web", port=8080, health="/", release=release)
        files = Case("real", spec, user=user).files(image)
        (job,) = _applied(namespace, files.pop("release.yaml"))
        kubectl("-n", namespace, "wait", "--for=condition=complete", "--timeout=300s", job)
        for data in files.values():
            _applied(namespace, data)
        kubectl("-n", namespace, "rollout", "status", "--timeout=300s", "deployment/web")

        (pod,) = found(namespace, "pods", "-l", "app.kubernetes.io/component=service")["items"]
        who = kubectl("-n", namespace, "exec", pod["metadata"]["name"], "--", "/bin/busybox", "id", "-u")
        assert who.strip() == (user or "65532")


def _applied(namespace: str, data: bytes) -> list[str]:
    return kubectl("-n", namespace, "apply", "--server-side", "-o", "name", "-f", "-", stdin=data.decode()).split()
