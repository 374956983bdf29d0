"""``status --watch``: the newest run, stage by stage with elapsed seconds; without a terminal one line per change.

Leaving never cancels anything: a run goes on without its watcher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from console import views
from console.client import FAILED, NOT_FOUND, STILL_OLD, Failure, ServerEvent, path
from console.forms import MACHINES
from console.session import Scope, Session
from console.texts import printable

REDRAWS_A_SECOND: Final = 4
BEGIN_LIMIT: Final = 20.0
BEGIN_PAUSE: Final = 0.2
UNBORN: Final = frozenset({"no_project", "no_such_project", "no_run", "no_such_run"})
"""What a push that was just accepted looks like until it is planned."""


def watch(session: Session, scope: Scope, wanted: str, output: str) -> int:
    """Follow a run, by default the newest, to its end; the exit code says how it ended."""
    found = _begun(session, scope, wanted)
    session.goes_on = f"run {found['id']} goes on: enclii status --watch --run {found['id']}"
    events = session.api.events(path("runs", found["id"], "events"), limit=session.timeout or 0.0)
    if output in MACHINES:
        return _ended(_each(events, lambda run: _print_json(run)))
    click.echo(f"run {found['id']}  {found['sha'][:7]}  {printable(found['subject_line'])}", err=True)
    if session.terminal:
        return _ended(_drawn(events, session))
    return _ended(_line_by_line(events, session))


def _begun(session: Session, scope: Scope, wanted: str) -> dict[str, Any]:
    """The run, once there is one: a push is answered a moment before its run, or even its project, is known."""
    deadline = time.monotonic() + BEGIN_LIMIT
    while True:
        try:
            return _known(session, scope, wanted)
        except Failure as failure:
            if failure.reason not in UNBORN or time.monotonic() > deadline:
                raise
        # The run has no stream to wait on before it exists, and its project may not exist yet either.
        time.sleep(BEGIN_PAUSE)


def _known(session: Session, scope: Scope, wanted: str) -> dict[str, Any]:
    if wanted:
        run: dict[str, Any] = session.api.get(path("runs", wanted))
        return run
    project = session.resolve(scope).project
    runs: list[dict[str, Any]] = session.api.get("/v1/runs", {"project": project, "limit": 1})["runs"]
    if not runs:
        raise Failure("nothing was pushed yet", reason="no_run", exit_code=NOT_FOUND, advice="git push")
    return runs[0]


def _each(events: Iterator[ServerEvent], show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    run: dict[str, Any] = {}
    for event in events:
        run = event.data
        show(run)
    return run


def _print_json(run: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(run, ensure_ascii=False))


def _line_by_line(events: Iterator[ServerEvent], session: Session) -> dict[str, Any]:
    shown: set[str] = set()

    def show(run: dict[str, Any]) -> None:
        for identity, line in views.stages(run, session.now()):
            if identity not in shown:
                shown.add(identity)
                click.echo(line)

    return _each(events, show)


def _drawn(events: Iterator[ServerEvent], session: Session) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live

    from console.commands.picture import Picture

    picture = Picture(session.now)

    def take(run: dict[str, Any]) -> None:
        picture.show(lambda now: "\n".join(line for _, line in views.stages(run, now)))

    with Live(picture, console=Console(no_color=bool(session.env.get("NO_COLOR"))),
              refresh_per_second=REDRAWS_A_SECOND):  # fmt: skip
        return _each(events, take)


def _ended(run: dict[str, Any]) -> int:
    """0 when everything runs, 7 when a deployment failed (what was live still is), else 1."""
    deployments = [deployment["status"] for deployment in run.get("deployments", [])]
    if "failed" in deployments:
        return STILL_OLD
    return 0 if run.get("status") in {"succeeded", "skipped"} else FAILED
