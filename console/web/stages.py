"""The way of one service through a run, from its job's and its deployments' records: each step with its time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, Final

from console import texts

Step = tuple[str, str, str]
"""Name, state (done, now, waits, failed, cancelled, …) and how long, for people."""
STAGES: Final = ("build", "sign")
ENDED: Final = frozenset({"failed", "cancelled", "superseded", "held", "skipped"})
ROLLED_OUT: Final = frozenset({"running", "degraded", "replaced", "rolled_back"})
LONGEST: Final = 16


def steps(run: dict[str, Any], job: dict[str, Any], now: datetime.datetime) -> list[Step]:
    """Queue, build, sign, commit, and a rollout for each environment that the service was deployed to."""
    return [*_worked(job, now), *_brought(run, job, now)]


def _worked(job: dict[str, Any], now: datetime.datetime) -> Iterator[Step]:
    """What the job's own stages say; a job that has ended has none that waits."""
    stages, over = job["stages"], job["status"] in ENDED
    begun = stages[0]["started_at"] if stages else job["finished_at"]
    yield "queue", "done" if stages or job["reused"] else _state(job), _took(job["created_at"], begun, now)
    for one in stages:
        yield (
            one["name"],
            "done" if one["finished_at"] else _state(job),
            _took(one["started_at"], one["finished_at"], now),
        )
    for name in STAGES:
        if name not in {one["name"] for one in stages} and (not over or job["reused"]):
            yield name, "known" if job["reused"] else "waits", ""


def _brought(run: dict[str, Any], job: dict[str, Any], now: datetime.datetime) -> Iterator[Step]:
    """The config commit, and what became of it."""
    signed = job["stages"][-1]["finished_at"] if job["stages"] else ""
    found = [one for one in run["deployments"] if one["service"] == job["service"]]
    if any(one["config_commit"] for one in found) or job["status"] == "deployed":
        yield "commit", "done", _took(signed, job["finished_at"], now) if job["finished_at"] else ""
    elif job["status"] not in ENDED:
        committing = job["status"] == "committing"
        yield "commit", "now" if committing else "waits", _took(signed, "", now) if committing else ""
    for one in found:
        state, end = _rollout(one), one["running_at"] or one["finished_at"]
        yield _short(one["environment"]), state, _took(one["created_at"], end, now) if end or state == "now" else ""
    if not found and job["status"] not in ENDED:
        yield "rollout", "waits", ""


def _state(job: dict[str, Any]) -> str:
    """Of a stage that has begun and not ended; a job that was only queued waits."""
    if job["status"] in ENDED:
        return str(job["status"])
    return "now" if job["stages"] else "waits"


def _rollout(deployment: dict[str, Any]) -> str:
    """Whether it ever ran, not what it is now."""
    if deployment["running_at"] or deployment["status"] in ROLLED_OUT:
        return "done"
    return {"failed": "failed", "held": "held"}.get(deployment["status"], "now")


def _took(begin: str, end: str, now: datetime.datetime) -> str:
    if not begin:
        return ""
    seconds = texts.seconds_between(begin, texts.moment(end) or now)
    return texts.span(max(seconds, 0.0)) if seconds is not None else ""


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
