"""What a Deployment and its pods say: live only by the digest that the node reports."""

from __future__ import annotations

from datetime import timedelta
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


def restarted(code: int, *, running_for: timedelta | None = None, warned: rollout.Warned | None = None) -> str | None:
    """What is told of a pod that is not ready, and whose container has ended five times."""
    now = rollout.now()
    state: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff"}}
    if running_for is not None:
        state = {"running": {"startedAt": (now - running_for).isoformat()}}
    last = {"terminated": {"exitCode": code}}
    status = {"name": "web", "restartCount": 5, "state": state, "lastState": last}
    pod = made(Pod, metadata={"name": "web-1"}, status={"containerStatuses": [status]})
    found = rollout.trouble_of(pod, warned, now)
    return found.reason if found else None


def heard(*events: tuple[str, str]) -> rollout.Warned | None:
    known = None
    for reason, message in events:
        known = rollout.remembered(known, reason, message)
    return known


LIVENESS = ("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404")
READINESS = ("Unhealthy", "Readiness probe failed: connection refused")
ENDED = ("Killing", "Container web failed liveness probe, will be restarted")
STOPPED = ("Killing", "Stopping container web")


@pytest.mark.parametrize(
    ("code", "events", "reason"),
    [
        (137, (LIVENESS, ENDED, READINESS), "unhealthy"),
        (0, (LIVENESS, ENDED), "unhealthy"),  # told to end, it did so politely
        (3, (LIVENESS, ENDED), "crash_loop"),  # this end was its own
        (137, (LIVENESS,), "crash_loop"),  # nobody was ended for it
        (137, (READINESS, STOPPED), "crash_loop"),
        (137, (), "crash_loop"),
    ],
)
def test_a_container_that_a_probe_ends_again_and_again_is_told_as_the_probe(
    code: int, events: tuple[tuple[str, str], ...], reason: str
) -> None:
    assert restarted(code, warned=heard(*events)) == reason


@pytest.mark.parametrize(("hours", "reason"), [(0, "crash_loop"), (1, "unhealthy")])
def test_restarts_of_long_ago_do_not_hide_why_a_pod_is_not_ready_now(hours: int, reason: str) -> None:
    assert restarted(1, running_for=timedelta(hours=hours), warned=heard(READINESS)) == reason
