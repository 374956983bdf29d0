"""``status --watch``: the newest run, stage by stage with elapsed seconds; without a terminal one line per change.

Leaving never cancels anything: a run goes on without its watcher.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from console import views
from console.client import FAILED, NOT_FOUND, STILL_OLD, Failure, ServerEvent, path
from console.session import Scope, Session
from console.texts import printable

if TYPE_CHECKING:
    from rich.text import Text

REDRAWS_A_SECOND: Final = 4


def watch_newest(session: Session, scope: Scope, output: str) -> int:
    """Follow the newest run to its end; the exit code says how it ended."""
    found = session.api.get("/v1/runs", {"project": scope.project, "limit": 1})["runs"]
    if not found:
        raise Failure("nothing was pushed yet", reason="no_run", exit_code=NOT_FOUND, advice="git push")
    events = session.api.events(path("runs", found[0]["id"], "events"))
    if output == "json":
        return _ended(_each(events, lambda run: _print_json(run)))
    click.echo(f"run {found[0]['id']}  {found[0]['sha'][:7]}  {printable(found[0]['subject_line'])}", err=True)
    if session.terminal:
        return _ended(_drawn(events, session))
    return _ended(_line_by_line(events, session))


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

    picture = _Picture(session.now)
    with Live(picture, console=Console(no_color=bool(session.env.get("NO_COLOR"))),
              refresh_per_second=REDRAWS_A_SECOND):  # fmt: skip
        return _each(events, picture.take)


class _Picture:
    """Draws the stages anew at each refresh, so that the elapsed seconds go on between events."""

    def __init__(self, now: Callable[[], datetime.datetime]) -> None:
        self._now = now
        self._run: dict[str, Any] = {"jobs": [], "deployments": []}

    def take(self, run: dict[str, Any]) -> None:
        """Draw this from now on."""
        self._run = run

    def __rich__(self) -> Text:
        from rich.text import Text

        return Text("\n".join(line for _, line in views.stages(self._run, self._now())))


def _ended(run: dict[str, Any]) -> int:
    """0 when everything runs, 7 when a deployment failed (what was live still is), else 1."""
    deployments = [deployment["status"] for deployment in run.get("deployments", [])]
    if "failed" in deployments:
        return STILL_OLD
    return 0 if run.get("status") in {"succeeded", "skipped"} else FAILED
