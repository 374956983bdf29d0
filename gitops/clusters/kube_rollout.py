"""What a Deployment and its pods say about a rollout: one Replica for each pod, one Health for the whole; pure.

The digest is the one that the runtime reports for the running container, never the one that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gitops.clusters import Health, Replica, ServiceRef, State
from gitops.clusters.kube_objects import PREFIX, ContainerStatus, Deployment, Pod, condition
from pipeline.errors import NotFound

IMAGE_REASONS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
MISSING_IMAGE = ("not found", "manifest unknown", "name unknown", "does not exist")
CONFIG_REASONS = frozenset({"CreateContainerConfigError"})
START_REASONS = frozenset({"CreateContainerError", "RunContainerError", "StartError"})
START_SECONDS = 60.0
SETTLED_SECONDS = 600.0
"""The cluster forgets a container's restarts, and restarts it at once again, when it has run for so long."""
ENDED_BY_OTHERS = frozenset({0, 137, 143})
"""How a program exits that was told to end, or was killed."""
TELLING_WARNINGS = frozenset(
    {"Unhealthy", "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "NetworkNotReady"}
)


_ENDING = re.compile(r"(?:Liveness|Startup) probe (?:failed|errored)")
_ENDED = re.compile(r"Container \S+ failed (?:liveness|startup) probe")


@dataclass(frozen=True)
class Warned:
    """The last warning about a pod that tells something."""

    reason: str
    message: str
    probe: str = ""
    """What a probe for which containers are ended said last."""
    ended: str = ""
    """The same once a container was ended for it."""


def remembered(before: Warned | None, reason: str, message: str) -> Warned:
    """What is known of a pod after one more event about it."""
    known = before or Warned("", "")
    if reason == "Killing":
        return replace(known, ended=known.probe or message) if _ENDED.match(message) else known
    if reason not in TELLING_WARNINGS:
        return known
    return replace(known, reason=reason, message=message, probe=message if _ENDING.match(message) else known.probe)


@dataclass(frozen=True)
class Trouble:
    """Why a pod is not ready: ``reason`` for machines, ``detail`` for people."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Seen:
    """One deployment as the cluster has it: the object, its current pods, and what was warned about them by uid."""

    ref: ServiceRef
    deployment: Deployment
    pods: Sequence[Pod]
    warned: Mapping[str, Warned]


def moment(text: str | None) -> datetime | None:
    """A time of the cluster's; None for none."""
    return datetime.fromisoformat(text) if text else None


def digest_of(image_id: str) -> str:
    """``sha256:…`` of a runtime's image id, "" when it names no digest of a repository."""
    name, at, digest = image_id.removeprefix("docker-pullable://").rpartition("@")
    return digest if at and name else ""


def replica(
    pod: Pod, *, number: int, container: str, warned: Warned | None, now: datetime, members: frozenset[str]
) -> Replica:
    """A pod as one replica; ``members`` are the digests that the committed image's index holds."""
    main = _status_of(pod, container)
    trouble = trouble_of(pod, warned, now)
    ended = main.last_state.terminated if main and main.last_state.terminated else None
    ended = main.state.terminated if main and main.state.terminated else ended
    running = main.state.running if main else None
    digest = digest_of(main.image_id) if main else ""
    return Replica(
        name=pod.metadata.name,
        number=number,
        release=pod.metadata.annotations.get(PREFIX + "release", "").rpartition(".")[2],
        address=_address(pod, container) if running else None,
        state=_state(pod, trouble),
        digest=digest,
        digests=frozenset({digest} - {""}) | (members if digest in members else frozenset()),
        restarts=sum(one.restart_count for one in pod.status.container_statuses),
        started_at=moment(running.started_at) if running else None,
        reason=trouble.reason if trouble else None,
        detail=trouble.detail if trouble else None,
        exit_code=ended.exit_code if ended else None,
        node=pod.spec.node_name,
    )


def ready(pod: Pod) -> bool:
    """Ready by the cluster's own word, and not on its way out."""
    found = condition(pod.status.conditions, "Ready")
    return found is not None and found.status == "True" and not pod.metadata.deletion_timestamp


def trouble_of(pod: Pod, warned: Warned | None, now: datetime) -> Trouble | None:
    """What keeps a pod from being ready, None while nothing is known to be wrong."""
    if ready(pod) or pod.metadata.deletion_timestamp:
        return None
    scheduled = condition(pod.status.conditions, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return Trouble("unschedulable", scheduled.message or scheduled.reason)
    if pod.status.phase == "Failed":
        return Trouble("evicted" if pod.status.reason == "Evicted" else "pod_failed", pod.status.message or "it failed")
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        found = _waiting_trouble(status) or _ended_trouble(status, warned.ended if warned else "", now)
        if found is not None:
            return found
    return _warned_trouble(pod, warned, now)


def _waiting_trouble(status: ContainerStatus) -> Trouble | None:
    waiting = status.state.waiting
    if waiting is not None and waiting.reason in IMAGE_REASONS:
        known_missing = any(word in waiting.message.lower() for word in MISSING_IMAGE)
        return Trouble("image_missing" if known_missing else "image_pull", f"{waiting.reason}: {waiting.message}")
    if waiting is not None and waiting.reason in CONFIG_REASONS:
        return Trouble("config_missing", waiting.message)
    if waiting is not None and waiting.reason in START_REASONS:
        return Trouble("cannot_start", waiting.message)
    return None


def _ended_trouble(status: ContainerStatus, probe: str, now: datetime) -> Trouble | None:
    """``probe``: what the probe said for which the kubelet ended a container of this pod."""
    waiting, ended = status.state.waiting, status.state.terminated or status.last_state.terminated
    if ended is None or _runs_again(status, now):
        return None
    if status.state.running is None and ended.exit_code == 0 and waiting is None:
        return None
    if ended.reason == "OOMKilled":
        return Trouble("oom", f"{status.name} needs more memory than its limit ({status.restart_count} restarts)")
    if ended.reason in START_REASONS:
        return Trouble("cannot_start", ended.message or ended.reason)
    if (waiting is not None and waiting.reason == "CrashLoopBackOff") or status.restart_count > 0:
        return _again_and_again(status, ended.exit_code, probe)
    return None


def _runs_again(status: ContainerStatus, now: datetime) -> bool:
    """Whether a container's former ends say nothing about why it is not ready now."""
    running = status.state.running
    since = moment(running.started_at) if running else None
    settled = since is not None and (now - since).total_seconds() > SETTLED_SECONDS
    return settled or (running is not None and status.restart_count < 2)


def _again_and_again(status: ContainerStatus, code: int, probe: str) -> Trouble:
    """A container that ends by itself, or that the kubelet ends because a probe fails."""
    count = f"last with code {code} ({status.restart_count} restarts)"
    if probe and code in ENDED_BY_OTHERS:
        return Trouble("unhealthy", f"{probe}; {status.name} is ended for it again and again, {count}")
    return Trouble("crash_loop", f"{status.name} exits again and again, {count}" + (f"; {probe}" if probe else ""))


def _warned_trouble(pod: Pod, warned: Warned | None, now: datetime) -> Trouble | None:
    """A probe that fails, a volume that cannot be mounted: the cluster says so only in its events."""
    if warned is None or warned.reason not in TELLING_WARNINGS:
        return None
    return Trouble("unhealthy" if warned.reason == "Unhealthy" else "cannot_start", warned.message)


def _old_enough(pod: Pod, now: datetime) -> bool:
    began = moment(pod.metadata.creation_timestamp)
    return began is not None and (now - began).total_seconds() > START_SECONDS


def _state(pod: Pod, trouble: Trouble | None) -> State:
    if pod.metadata.deletion_timestamp:
        return "stopped"
    if ready(pod):
        return "ready"
    if trouble is None:
        return "starting"
    return "failing"


def _status_of(pod: Pod, container: str) -> ContainerStatus | None:
    found = {one.name: one for one in pod.status.container_statuses}
    return found.get(container) or next(iter(pod.status.container_statuses), None)


def _address(pod: Pod, container: str) -> str | None:
    for one in pod.spec.containers:
        if one.name == container and one.ports and pod.status.pod_ip:
            return f"{pod.status.pod_ip}:{one.ports[0].container_port}"
    return None


def main_container(deployment: Deployment, image: str) -> str:
    """The container that runs the committed image: the one whose image it is, by another name too, else the first."""
    containers, digest = deployment.spec.template.spec.containers, image.partition("@")[2]
    found = [one.name for one in containers if one.image == image]
    found += [one.name for one in containers if digest and one.image.partition("@")[2] == digest]
    found += [one.name for one in containers]
    return found[0] if found else ""


def chosen(found: Mapping[str, Seen], ref: ServiceRef, replica: str, image: str) -> tuple[Pod, str]:
    """The pod that is meant and its main container: by name, else one that is ready, the current rollout's first.

    Raises NotFound.
    """
    groups = [found[name] for name in sorted(found)]
    running = [(one, pod) for one in groups for pod in one.pods if _runs(pod) and replica in ("", pod.metadata.name)]
    if not running:
        what = f"replica {replica!r}" if replica else "replica"
        raise NotFound(f"no {what} of {ref} runs: enclii ps shows those that do", reason="no_replica")
    seen, pod = next((pair for pair in running if ready(pair[1])), running[0])
    return pod, main_container(seen.deployment, image)


def _runs(pod: Pod) -> bool:
    alive = any(status.state.running is not None for status in pod.status.container_statuses)
    return alive and not pod.metadata.deletion_timestamp


def judge(seen: Seen, replicas: Sequence[Replica], digest: str, *, now: datetime) -> Health:
    """Live is: the cluster has rolled it out, and each current pod is ready and runs the committed digest.

    Rolled out is as ``kubectl rollout status`` has it. A pod that is ready counts as available only once it has been so
    for ``minReadySeconds``, but old pods are available too: as long as there are any, the number proves nothing.
    """
    deployment, wanted = seen.deployment, seen.deployment.spec.replicas
    if deployment.status.observed_generation < deployment.metadata.generation:
        return Health("unknown", "starting", "the cluster has not looked at the change yet")
    wrong = next((one for one in replicas if one.digest and digest not in one.digests), None)
    if wrong:
        return Health("unhealthy", "wrong_digest", f"{wrong.name} runs {wrong.digest}")
    refused = condition(deployment.status.conditions, "ReplicaFailure")
    if refused is not None and refused.status == "True":
        return Health("unhealthy", _refused(refused.message), refused.message)
    bad = next((one for one in replicas if one.state == "failing"), None)
    if bad is not None:
        return _bad(bad, seen, now)
    here = [one for one in replicas if one.state == "ready"]
    unproven = next((one for one in here if digest not in one.digests), None)
    if unproven:
        return Health("unknown", "digest_unknown", f"{unproven.name}: the node names no digest for what it runs")
    state = deployment.status
    rolled = state.updated_replicas >= wanted and state.replicas <= state.updated_replicas
    if len(here) >= wanted and rolled and state.available_replicas >= wanted:
        return Health("healthy")
    progressing = condition(state.conditions, "Progressing")
    if progressing is not None and progressing.status == "False":
        return Health("unhealthy", "deadline", progressing.message)
    if deployment.spec.paused:
        return Health("unhealthy", "paused", "the Deployment is paused: kubectl rollout resume")
    waiting = next((one for one in replicas if one.state == "starting"), None)
    detail = f"{len(here)} of {wanted} replicas are ready"
    return Health("unknown", "starting", f"{waiting.name}: starting; {detail}" if waiting else detail)


def _bad(bad: Replica, seen: Seen, now: datetime) -> Health:
    """A probe may fail while a program starts; any other trouble is told at once."""
    detail = f"{bad.name}: {bad.detail}"
    pod = next((one for one in seen.pods if one.metadata.name == bad.name), None)
    if bad.reason == "unhealthy" and pod is not None and not _old_enough(pod, now):
        return Health("unknown", "unhealthy", detail)
    return Health("unhealthy", bad.reason, detail)


def _refused(message: str) -> str:
    if "exceeded quota" in message:
        return "quota"
    return "admission_refused"


def now() -> datetime:
    return datetime.now(UTC)


def another_digest(pods: Sequence[Pod], digest: str) -> bool:
    """Whether any container runs what is not called by that digest."""
    found = {digest_of(status.image_id) for pod in pods for status in pod.status.container_statuses}
    return bool(found - {digest, ""})
