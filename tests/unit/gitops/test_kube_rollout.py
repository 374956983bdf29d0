"""What a Deployment and its pods say: live only by the digest that the node reports."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gitops.clusters import Health, ServiceRef
from gitops.clusters import kube_rollout as rollout
from gitops.clusters.kube_objects import Deployment, Pod
from gitops.syncing.live import status_of

WANTED = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def made(kind: type[Any], **fields: Any) -> Any:
    return msgspec.convert(fields, kind)


def judged(image_id: str = f"r/web@{WANTED}", **other: int) -> Health:
    """One pod that is ready, of a Deployment that says so in its status, but for ``other``."""
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1} | other
    template = {"spec": {"containers": [{"name": "web", "image": f"r/web@{WANTED}"}]}}
    deployment = made(Deployment, metadata={"generation": 1}, spec={"replicas": 1, "template": template}, status=status)
    running = {"name": "web", "ready": True, "imageID": image_id, "state": {"running": {}}}
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [running]}
    pod = made(Pod, metadata={"name": "web-1"}, status=ready)
    seen = rollout.Seen(ServiceRef("shop", "production", "web"), deployment, [pod], {})
    members = frozenset({WANTED})
    one = rollout.replica(pod, number=0, container="web", warned=None, now=rollout.now(), members=members)
    return rollout.judge(seen, [one], WANTED, now=rollout.now())


@pytest.mark.parametrize(
    ("image_id", "status", "reason"),
    [
        (f"r/web@{WANTED}", "healthy", None),
        (f"r/web@{OTHER}", "unhealthy", "wrong_digest"),
        ("r/web:latest", "unknown", "digest_unknown"),
        (WANTED, "unknown", "digest_unknown"),  # an image id is the configuration's digest, not the manifest's
    ],
)
def test_ready_is_live_only_by_the_reported_digest(image_id: str, status: str, reason: str | None) -> None:
    found = judged(image_id)

    assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize(
    "other",
    [
        {"observedGeneration": 0},  # the status is about what was wanted before
        {"availableReplicas": 0},  # ready, and not yet for minReadySeconds
        {"replicas": 2},  # so is the new pod, and the one that is available is the old one
        {"updatedReplicas": 0},
    ],
)
def test_a_pod_that_is_ready_is_not_healthy_before_the_cluster_has_rolled_it_out(other: dict[str, int]) -> None:
    found = judged(**other)

    assert (found.status, found.reason) == ("unknown", "starting")


@pytest.mark.parametrize("reason", ["cluster_away", "cluster_unreadable", "index_unreadable", "sync_tool_away"])
def test_what_cannot_be_read_is_unknown_even_where_pods_ran(reason: str) -> None:
    assert status_of(Health("unknown", reason), 2, 2) == "unknown"
