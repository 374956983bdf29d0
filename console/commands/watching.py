"""``status --watch``: the newest run, stage by stage with elapsed seconds; without a terminal one line per change.

It is the newest at the end, too: a run that a push is to become is waited for, and one that began meanwhile is followed
next. Leaving never cancels anything: a run goes on without its watcher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from console import views
from console.client import FAILED, NOT_FOUND, STILL_OLD, TIMED_OUT, Failure, ServerEvent, path
from console.commands.options import tell
from console.forms import MACHINES
from console.session import Scope, Session
from console.texts import printable

REDRAWS_A_SECOND: Final = 4
BEGIN_LIMIT: Final = 20.0
BEGIN_PAUSE: Final = 0.2
PLAN_LIMIT: Final = 60.0
PUSH_LIMIT: Final = 3.0
"""Seconds for which a push may still be on its way to the git host when who watches it is there already."""
UNBORN: Final = frozenset({"no_project", "no_such_project", "no_run", "no_such_run"})
"""What a push that was just accepted looks like until it is planned."""


def watch(session: Session, scope: Scope, wanted: str, output: str) -> int:
    """Follow a run, by default the newest, to its end; the exit code says how it ended."""
    deadline = time.monotonic() + session.timeout if session.timeout else 0.0
    following = _named(session, wanted) if wanted else _newest(session, scope, PUSH_LIMIT)
    while True:
        ended = _follow(session, following, output, deadline)
        newest = following if wanted else _newest(session, scope, 0.0)
        if newest["id"] == following["id"]:
            return _ended(ended)
        following = newest


def _follow(session: Session, found: dict[str, Any], output: str, deadline: float) -> dict[str, Any]:
    """Show the run up to its end; how it is then."""
    session.goes_on = _goes_on(found["id"])
    limit = max(0.1, deadline - time.monotonic()) if deadline else 0.0
    events = session.api.events(path("runs", found["id"], "events"), limit=limit)
    if output in MACHINES:
        return _each(events, lambda run: _print_json(run))
    click.echo(f"run {found['id']}  {found['sha'][:7]}  {printable(found['subject_line'])}", err=True)
    return _drawn(events, session) if session.terminal else _line_by_line(events, session)


def _goes_on(run: str) -> str:
    return f"run {run} goes on: enclii status --watch --run {run}"


def _named(session: Session, wanted: str) -> dict[str, Any]:
    """The run, once there is one: a push is answered a moment before its run is known."""
    deadline = time.monotonic() + BEGIN_LIMIT
    while True:
        try:
            run: dict[str, Any] = session.api.get(path("runs", wanted))
            return run
        except Failure as failure:
            if failure.reason not in UNBORN or time.monotonic() > deadline:
                raise
        time.sleep(BEGIN_PAUSE)  # before the run exists it has no stream to wait on


def _newest(session: Session, scope: Scope, coming: float) -> dict[str, Any]:
    """The newest run: one that is on its way, else the last, once no push is seen to become one, ``coming`` seconds
    long. Raises Failure.
    """
    begun = time.monotonic()
    told = ""
    while True:
        waited = time.monotonic() - begun
        try:
            found, pushes = _seen(session, scope)
        except Failure as failure:
            if failure.reason not in UNBORN or waited > BEGIN_LIMIT:
                raise
        else:
            if found and (not found["finished"] or (not pushes and waited >= coming)):
                return found
            if waited > (session.limit(PLAN_LIMIT) if pushes else BEGIN_LIMIT):
                raise _unplanned(pushes[0]) if pushes else _nothing_pushed()
            told = _tell_once(session, pushes, told)
        time.sleep(BEGIN_PAUSE)  # before the run exists it has no stream to wait on, nor may its project exist


def _seen(session: Session, scope: Scope) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The newest run, and the pushes that are not planned yet: asked for first, since they become runs."""
    project = session.resolve(scope).project
    pushes: list[dict[str, Any]] = session.api.get(path("projects", project, "pushes"))["pushes"]
    runs = session.api.get("/v1/runs", {"project": project, "limit": 1})["runs"]
    return (session.api.get(path("runs", runs[0]["id"])) if runs else None), pushes


def _tell_once(session: Session, pushes: list[dict[str, Any]], told: str) -> str:
    """Say what is waited for, when it is not what was said last."""
    line = "nothing is on its way; waiting a moment for a push"
    if pushes:
        session.goes_on = _goes_on(pushes[0]["run"])
        line = f"the push of {pushes[0]['sha'][:7]} is accepted; waiting for its run {pushes[0]['run']}"
    if line != told:
        tell(line)
    return line


def _nothing_pushed() -> Failure:
    return Failure("nothing was pushed yet", reason="no_run", exit_code=NOT_FOUND, advice="git push")


def _unplanned(push: dict[str, Any]) -> Failure:
    return Failure(
        f"the push of {push['sha'][:12]} is accepted and not planned yet; it goes on",
        reason="timeout",
        exit_code=TIMED_OUT,
        advice=f"enclii doctor; then: enclii status --watch --run {push['run']}",
    )


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
