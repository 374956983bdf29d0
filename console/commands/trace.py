"""``enclii trace``: where the time of a push or a command went, up to the rollout, out of what is stored."""

from __future__ import annotations

from typing import Any

import click

from console.client import path
from console.commands.options import formatted, show
from console.session import Session
from console.texts import printable, span
from console.views import table

Value = dict[str, Any]


@click.command()
@click.argument("what")
@formatted
@click.pass_obj
def trace(session: Session, *, what: str, output: str) -> None:
    """Where the time of WHAT went, a commit, run, release or command: when each step began, how long it took."""
    show(session.api.get(path("trace", what)), output, _told, rows="steps")


def _told(answer: Value) -> str:
    rows = [
        [
            one["run"] or one["command"],
            one["service"],
            one["step"],
            _shown(one["after_seconds"]),
            _shown(one["seconds"]),
        ]
        for one in answer["steps"]
    ]
    heads = [f"trace {one}" for one in answer["traces"]]
    return "\n".join([*map(printable, heads), table(("OF", "SERVICE", "STEP", "AFTER", "TOOK"), rows)])


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}s" if seconds < 60 else span(seconds)
