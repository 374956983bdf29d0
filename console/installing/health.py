"""Whether the workloads of an installation are rolled out and ready, and what keeps those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from console.installing.kubectl import Kubectl
from console.installing.rendering import OF_ENCLII
from gitops.clusters.kube_objects import Pod
from gitops.clusters.kube_rollout import trouble_of


@dataclass(frozen=True)
class Late:
    """A workload that is not ready, and why as far as its pods tell."""

    name: str
    ready: int
    wanted: int
    why: str = ""
    namespace: str = ""
    kind: str = "Deployment"

    @property
    def told(self) -> str:
        return f"{self.name}: {self.ready} of {self.wanted} ready" + (f"; {self.why}" if self.why else "")


async def late(kubectl: Kubectl, namespaces: Iterable[str]) -> list[Late]:
    """Every workload of ours in ``namespaces`` that is not rolled out and ready."""
    found: list[Late] = []
    for namespace in namespaces:
        seen = await kubectl.get("deployments,statefulsets,pods", "-n", namespace, "-l", OF_ENCLII)
        found += unready(seen, now=datetime.now(UTC))
    return found


def unready(seen: Sequence[Mapping[str, Any]], *, now: datetime) -> list[Late]:
    """The same of what ``kubectl get`` found, pods among it."""
    pods = [one for one in seen if one["kind"] == "Pod"]
    return [
        Late(
            one["metadata"]["name"], one.get("status", {}).get("readyReplicas", 0), _wanted(one), _why(one, pods, now),
            one["metadata"].get("namespace", ""), one["kind"],
        )
        for one in seen
        if one["kind"] != "Pod" and not _ready(one)
    ]  # fmt: skip


def _wanted(workload: Mapping[str, Any]) -> int:
    return int(workload["spec"].get("replicas", 1))


def _ready(workload: Mapping[str, Any]) -> bool:
    """As ``kubectl rollout status`` has it."""
    state, wanted = workload.get("status", {}), _wanted(workload)
    if state.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False
    if workload["kind"] == "Deployment" and state.get("replicas", 0) > state.get("updatedReplicas", 0):
        return False
    counts = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return all(state.get(count, 0) >= wanted for count in counts)


def _why(workload: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], now: datetime) -> str:
    labels = workload["spec"]["selector"]["matchLabels"].items()
    own = [one for one in pods if labels <= one["metadata"].get("labels", {}).items()]
    own.sort(key=lambda one: one.get("status", {}).get("phase") == "Failed")  # one that was evicted stays beside others
    found = (trouble_of(msgspec.convert(one, Pod), None, now) for one in own)
    refused = [
        one.get("message", "")
        for one in workload.get("status", {}).get("conditions", ())
        if one["type"] == "ReplicaFailure" and one["status"] == "True"
    ]
    return next(iter([*refused, *(f"{one.reason}: {one.detail}" for one in found if one is not None)]), "")
