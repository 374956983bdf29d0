"""From what was measured to what may be said: running only by the committed digest, healthy and complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from gitops.clusters import AWAY, Health, Observation, Replica, ServiceRef, Wanted
from pipeline.records import DeploymentStatus, Live, ReplicaView
from pipeline.store import now

DEAD_LINES = 200
"""Lines kept of one dead container."""
MOST_LINES = 2_000
"""Lines kept with one deployment: it is one message of the event store."""


def live_from(wanted: Wanted, seen: Observation | None, health: Health, *, desired: int, previous: Live | None) -> Live:
    """The record of what runs; ``since`` goes on while the same deployment keeps running."""
    replicas = seen.replicas if seen else ()
    proven = [one for one in replicas if wanted.digest in one.digests and one.state == "ready"]
    status = status_of(health, len(proven), desired)
    ref = wanted.ref
    return Live(
        project=ref.project, environment=ref.environment, service=ref.service, deployment=wanted.deployment,
        release=f"{ref.project}.{ref.service}.{wanted.release}", image=wanted.image, status=status,
        health=health.status, ready=len(proven), desired=desired, replicas=tuple(_view(one) for one in replicas),
        since=_since(status, wanted, previous),
        healthy_since=_healthy_since(status, wanted, previous), address=previous.address if previous else "",
        reason=health.detail or health.reason or "", at=now(),
    )  # fmt: skip


def status_of(health: Health, proven: int, desired: int) -> DeploymentStatus:
    """Running takes proof for every replica; a cluster that does not answer proves nothing."""
    if health.status == "healthy" and proven >= desired:
        return "running"
    if health.status == "unknown" and health.reason in AWAY:
        return "unknown"
    return "progressing" if health.status == "unknown" and proven == 0 else "degraded"


def last_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines of each dead container, which each line begins with; a wordy one leaves the others theirs."""
    counts: Counter[str] = Counter()
    kept: list[str] = []
    for line in reversed(lines):
        container = line.partition(" ")[0]
        counts[container] += 1
        if counts[container] <= DEAD_LINES and len(kept) < MOST_LINES:
            kept.append(line)
    return tuple(reversed(kept))


def unseen(live: Live, reason: str) -> Live:
    """The record while the cluster does not answer: what ran before proves nothing about now."""
    replicas = tuple(msgspec.structs.replace(one, state="unknown") for one in live.replicas)
    return msgspec.structs.replace(
        live, status="unknown", health="unknown", ready=0, replicas=replicas, reason=reason, at=now()
    )


def same(one: Live | None, other: Live) -> bool:
    """True when nothing has changed but the time of looking."""
    if one is None:
        return False
    return _timeless(one) == _timeless(other)


def _timeless(live: Live) -> tuple[object, ...]:
    return (
        live.deployment,
        live.status,
        live.health,
        live.ready,
        live.desired,
        live.replicas,
        live.address,
        live.since,
        live.drift,
        live.reason,
    )


def _since(status: DeploymentStatus, wanted: Wanted, previous: Live | None) -> str:
    if previous and previous.deployment == wanted.deployment and previous.since:
        return previous.since
    return now() if status == "running" else ""


def _healthy_since(status: DeploymentStatus, wanted: Wanted, previous: Live | None) -> str:
    if status != "running":
        return ""
    kept = previous is not None and previous.deployment == wanted.deployment and previous.status == "running"
    return (previous.healthy_since if previous and kept else "") or now()


def _view(replica: Replica) -> ReplicaView:
    return ReplicaView(
        name=replica.name, state=replica.state, digest=replica.digest, restarts=replica.restarts,
        started_at=replica.started_at.isoformat() if replica.started_at else "", reason=replica.reason or "",
        address=replica.address or "", node=replica.node,
    )  # fmt: skip


def ended(ref: ServiceRef, live: Live | None, commit: str) -> Live:
    """That nothing of a service is there, which ``commit`` took out of git; of one that was never seen to run too."""
    known = live or Live(
        project=ref.project, environment=ref.environment, service=ref.service, deployment="", release="", image="",
        status="removed", health="unknown", ready=0, desired=0,
    )  # fmt: skip
    return msgspec.structs.replace(known, replicas=(), deployment="", removed=commit, at=now())
