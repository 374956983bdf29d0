"""What podman's inspect output means: one Replica per container, and one Health per deployment; pure.

The digest is taken from the image that runs, never from what was asked for.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from gitops.clusters import Health, Hint, Replica, Wanted
from gitops.clusters.podman_commands import PREFIX, ref_of
from gitops.clusters.probe import Answer
from gitops.clusters.subset import Workload

LOOP_RESTARTS = 5
LOOP_SECONDS = 10.0
SETTLED_SECONDS = 10.0
START_SECONDS = 60.0
KILLED = 137


@dataclass
class Loops:
    """Remembers restart counts over time, because podman restarts a failing container ten times a second for ever."""

    _seen: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    def looping(self, container: str, restarts: int, now: float) -> bool:
        """Whether the container restarted five times or more within the last ten seconds."""
        kept = [(at, count) for at, count in self._seen.get(container, []) if now - at <= LOOP_SECONDS]
        first = kept[0][1] if kept else (0 if container not in self._seen else restarts)
        self._seen[container] = [*kept, (now, restarts)]
        return restarts - first >= LOOP_RESTARTS

    def exit_code(self, container: str, code: int, *, looping: bool) -> int:
        """The code it last failed with by itself: a running container shows 0, and our own stop shows 0 or 137."""
        if code and container not in self._ended:
            self._codes[container] = code
        if looping:
            self._ended.add(container)
        return self._codes.get(container, code)

    def forget(self, alive: frozenset[str]) -> None:
        for gone in self._seen.keys() - alive:
            del self._seen[gone]
            self._codes.pop(gone, None)
            self._ended.discard(gone)


def moment(text: str) -> datetime | None:
    """A time of podman's; None for Go's zero time."""
    if not text or text.startswith("0001-"):
        return None
    head, dot, rest = text.partition(".")
    if not dot:
        return datetime.fromisoformat(text)
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return datetime.fromisoformat(f"{head}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}")


def address(container: Mapping[str, Any]) -> str | None:
    """Where the service's port is published on this machine; behind a wall, where the container itself listens."""
    port = _label(container, "port")
    if port and _label(container, "walled"):
        networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
        found = [str(one.get("IPAddress")) for one in networks.values() if one.get("IPAddress")]
        return f"{found[0]}:{port}" if found else None
    bound = ((container.get("NetworkSettings") or {}).get("Ports") or {}).get(f"{port}/tcp") or []
    return f"127.0.0.1:{bound[0]['HostPort']}" if port and bound else None


def running(container: Mapping[str, Any]) -> bool:
    return bool(container["State"].get("Running"))


def digest_of(container: Mapping[str, Any], repo_digests: Sequence[str]) -> tuple[str, frozenset[str]]:
    """The measured digest: the one that was asked for if the image has it, else whatever the image has.

    The repository's name is no part of the proof: podman keeps one image for two repositories with the same content
    and may know it by the first one's name alone.
    """
    asked = _label(container, "image").partition("@")[2]
    found = [name.partition("@")[2] for name in repo_digests]
    digest = asked if asked in found else found[0] if found else ""
    return digest, frozenset(found)


def replica(
    container: Mapping[str, Any], *, repo_digests: Sequence[str], answer: Answer | None, looping: bool, now: datetime
) -> Replica:
    digest, digests = digest_of(container, repo_digests)
    state, reason, detail = _state(container, answer, looping=looping, now=now)
    alive = running(container)
    restarts = int(container.get("RestartCount") or 0)
    return Replica(
        name=_label(container, "pod"),
        number=int(_label(container, "replica") or 0),
        release=_label(container, "release"),
        address=address(container) if alive else None,
        state=state,
        digest=digest,
        digests=digests,
        restarts=restarts,
        started_at=moment(container["State"].get("StartedAt", "")),
        reason=reason,
        detail=detail,
        exit_code=None if alive and not restarts else int(container["State"].get("ExitCode") or 0),
        node=platform.node(),
    )


def _state(
    container: Mapping[str, Any], answer: Answer | None, *, looping: bool, now: datetime
) -> tuple[Literal["starting", "ready", "failing", "stopped"], str | None, str | None]:
    restarts = int(container.get("RestartCount") or 0)
    code = int(container["State"].get("ExitCode") or 0)
    if looping or (not running(container) and restarts >= LOOP_RESTARTS):
        return "failing", _death(container, code), f"exits again and again, last with code {code} ({restarts} restarts)"
    if not running(container):
        if moment(container["State"].get("StartedAt", "")) is None:
            return "starting", None, "created, not started yet"
        return "stopped", None, f"ended with code {code}"
    age = (now - (moment(container["State"]["StartedAt"]) or now)).total_seconds()
    if answer is None:
        settled = age >= SETTLED_SECONDS
        return ("ready", None, None) if settled else ("starting", None, f"runs for {age:.0f} s without a restart")
    if answer.well:
        return "ready", None, answer.seen
    return ("starting", None, answer.seen) if age < START_SECONDS else ("failing", "unhealthy", answer.seen)


def _death(container: Mapping[str, Any], code: int) -> str:
    """Nobody of ours kills with 137: under a memory limit the kernel did, whatever podman's OOMKilled says."""
    limited = int((container.get("HostConfig") or {}).get("Memory") or 0) > 0
    return "oom" if code == KILLED and limited else "crash_loop"


def judge(wanted: Wanted, workload: Workload, replicas: Sequence[Replica]) -> Health:
    """Live is: as many replicas as wanted, each of the wanted digest, each ready."""
    wrong = next((one for one in replicas if one.state != "starting" and wanted.digest not in one.digests), None)
    if wrong:
        return Health("unhealthy", "wrong_digest", f"{wrong.name} runs {wrong.digest or 'an unknown image'}")
    bad = next((one for one in replicas if one.state in ("failing", "stopped")), None)
    if bad:
        return Health("unhealthy", bad.reason or bad.state, f"{bad.name} {bad.detail}")
    if len(replicas) < workload.replicas:
        return Health("unhealthy", "missing_replicas", f"{len(replicas)} of {workload.replicas} replicas exist")
    waiting = next((one for one in replicas if one.state == "starting"), None)
    if waiting:
        return Health("unknown", "starting", f"{waiting.name}: {waiting.detail}")
    return Health("healthy")


def now() -> datetime:
    return datetime.now(UTC)


def _label(container: Mapping[str, Any], key: str) -> str:
    return str((container["Config"].get("Labels") or {}).get(PREFIX + key, ""))


def hint(raw: bytes) -> Hint | None:
    try:
        event = json.loads(raw)
        labels = event.get("Attributes") or {}
        at = moment(event["Time"])
        if at is None or PREFIX + "deployment" not in labels:
            return None
        nanoseconds = int(at.timestamp() * 1_000_000) * 1_000
        return Hint(nanoseconds, event["Status"], ref_of(labels), labels[PREFIX + "deployment"])
    except (ValueError, KeyError, AttributeError):
        return None
