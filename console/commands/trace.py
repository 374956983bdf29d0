"""``enclii trace``: where the time of one push went, from its delivery to the rollout, out of what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from console.client import path
from console.commands.options import formatted, show
from console.session import Session
from console.texts import moment, printable, span, version
from console.views import table

Value = dict[str, Any]


@click.command()
@click.argument("what")
@formatted
@click.pass_obj
def trace(session: Session, *, what: str, output: str) -> None:
    """Where the time of WHAT went, a commit, run, release or command: when each stage began, how long it took."""
    answer = session.api.get(path("why", what))
    steps = [step for run in answer["runs"] for step in _of_run(run, answer)]
    traces = sorted({one["trace"].split("-")[1] for one in answer["runs"] if one.get("trace", "").count("-") == 3})
    show({"query": answer["query"], "traces": traces, "steps": steps}, output, _told, rows="steps")


def _of_run(run: Value, answer: Value) -> Iterator[Value]:
    """The run's steps, each at so many seconds after the run began."""
    begun = run["created_at"]
    for job in answer["jobs"]:
        if job["run"] == run["id"]:
            for stage in job["stages"]:
                yield _step(begun, run["id"], job["service"], stage["name"], stage["started_at"], stage["finished_at"])
    for one in answer["deployments"]:
        if one["run"] == run["id"]:
            name = f"rollout {one['environment']} {version(one['release'])}"
            yield _step(begun, run["id"], one["service"], name, one["created_at"], one["running_at"])


def _step(begun: str, run: str, service: str, name: str, started: str, ended: str) -> Value:
    return {
        "run": run, "service": service, "step": name, "started_at": started, "ended_at": ended,
        "after_seconds": _between(begun, started), "seconds": _between(started, ended),
    }  # fmt: skip


def _between(earlier: str, later: str) -> float | None:
    first, second = moment(earlier), moment(later)
    return round((second - first).total_seconds(), 3) if first and second else None


def _told(answer: Value) -> str:
    rows = [
        [one["run"], one["service"], one["step"], _shown(one["after_seconds"]), _shown(one["seconds"])]
        for one in answer["steps"]
    ]
    heads = [f"trace {one}" for one in answer["traces"]]
    return "\n".join([*map(printable, heads), table(("RUN", "SERVICE", "STEP", "AFTER", "TOOK"), rows)])


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}s" if seconds < 60 else span(seconds)
