"""The rollout's part of a push's trace: from the config commit to running and healthy."""

from __future__ import annotations

import datetime
from typing import get_args

from pipeline import measures, tracing
from pipeline.records import Deployment, Via
from pipeline.trace import trace_id


def expect() -> None:
    """Say in ``/metrics`` what rollouts come of, before the first one."""
    for via in get_args(Via):
        measures.ROLLOUTS.expect(via)


def rollout(running: Deployment) -> None:
    """A deployment runs for the first time."""
    seconds = _seconds(running.created_at, running.running_at)
    if seconds is None:
        return
    measures.ROLLOUTS.observe(running.via, seconds=seconds, trace=trace_id(running.trace))
    told = {
        "cicd.pipeline.name": f"{running.project}/{running.service}", "cicd.pipeline.run.id": running.run,
        "cicd.pipeline.task.name": "rollout", "cicd.pipeline.task.type": "deploy",
        "cicd.pipeline.task.run.id": running.id, "deployment.id": running.id,
        "deployment.environment.name": running.environment, "deployment.status": "succeeded",
        "vcs.ref.head.revision": running.sha, "enclii.release": running.release,
        "oci.manifest.digest": running.image.rpartition("@")[2],
    }  # fmt: skip
    about = {name: value for name, value in told.items() if value}
    tracing.span(f"rollout {running.environment}/{running.service}", "internal", running.trace, seconds, about)


def _seconds(earlier: str, later: str) -> float | None:
    try:
        took = datetime.datetime.fromisoformat(later) - datetime.datetime.fromisoformat(earlier)
        return max(0.0, took.total_seconds())
    except (ValueError, TypeError):
        return None
