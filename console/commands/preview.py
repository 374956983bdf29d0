"""``enclii preview``: run a branch or pull request under an address of its own, for a while."""

from __future__ import annotations

import datetime
import time
from typing import Any, Final

import click

from console import preview_views
from console.client import REFUSED, STILL_OLD, TIMED_OUT, Failure
from console.commands import waiting
from console.commands.options import formatted, of_project, show, shown, tell, timed, watched
from console.session import Scope, Session
from pipeline.parsing import duration

PAUSE: Final = 0.3
DECISION_LIMIT: Final = 60.0
UP_LIMIT: Final = 600.0
DOWN_LIMIT: Final = 120.0
_REPOSITORY: Final = click.option("--repository", default="", metavar="ID", help="Which, where there are several.")
_WHICH: Final = click.argument("which", metavar="BRANCH|NUMBER")


@click.group()
def preview() -> None:
    """Run a branch, or the pull request NUMBER, under an address of its own."""


@preview.command("list")
@click.option("--all", "every", is_flag=True, help="Those that were removed, too.")
@watched
@of_project
@formatted
@click.pass_obj
def list_(session: Session, *, every: bool, project: str, output: str, watch: bool) -> None:
    """The open previews."""
    place = session.resolve(Scope(project))
    query = {"project": place.project} | ({"all": "true"} if every else {})

    def text(answer: Any, now: datetime.datetime) -> str:
        return preview_views.table(answer, now, relative=session.terminal, wide=output == "wide")

    shown(session, lambda: session.api.get("/v1/previews", query), text, output, "previews", watch=watch)


@preview.command()
@_WHICH
@of_project
@formatted
@click.pass_obj
def status(session: Session, *, which: str, project: str, output: str) -> None:
    """One preview: its services, where they answer, how long it lives."""
    found = _find(_previews(session, project), which)
    if found is None:
        raise Failure(f"there is no preview of {which}", reason="no_preview", advice=f"enclii preview up {which}")
    show(found, output, lambda it: preview_views.status(it, session.now(), relative=session.terminal))


@preview.command()
@_WHICH
@click.argument("services", nargs=-1)
@click.option("--ttl", default="", metavar="TIME", help="Removed after so long without a request, push or command.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it answers.")
@timed(UP_LIMIT)
@_REPOSITORY
@of_project
@formatted
@click.pass_obj
def up(
    session: Session, *, which: str, services: tuple[str, ...], ttl: str, wait: bool,
    repository: str, project: str, output: str,
) -> None:  # fmt: skip
    """Build the head of a branch or pull request and run it; SERVICE...: only these."""
    begun, timeout = time.monotonic(), session.limit(UP_LIMIT)
    body = {"services": list(services), "seconds": _seconds(ttl) if ttl else 0.0}
    _ask(session, "up", which, project, repository, **body)
    found = _answers(session, project, which, begun + timeout) if wait else _find(_previews(session, project), which)
    show(found, output, lambda it: preview_views.status(it or {}, session.now(), relative=session.terminal))
    if wait:
        tell(f"answers · {time.monotonic() - begun:.1f} s; end it: enclii preview down {which}")


@preview.command()
@_WHICH
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until nothing of it is left.")
@timed(DOWN_LIMIT)
@click.option("--reason", default="", help="Why; kept in git.")
@_REPOSITORY
@of_project
@click.pass_obj
def down(session: Session, *, which: str, wait: bool, reason: str, repository: str, project: str) -> None:
    """End a preview: one commit takes it out of git, and nothing of it is left."""
    if _find(_previews(session, project), which) is None:
        tell(f"there is no preview of {which}")
        return
    _ask(session, "down", which, project, repository, why=reason)
    deadline = time.monotonic() + session.limit(DOWN_LIMIT)
    while wait and _find(_previews(session, project), which) is not None:
        _in_time(deadline, "it is not removed yet")
    click.echo(f"{which} removed" if wait else f"{which} is being removed")


@preview.command()
@_WHICH
@click.argument("time_", metavar="TIME")
@_REPOSITORY
@of_project
@click.pass_obj
def extend(session: Session, *, which: str, time_: str, repository: str, project: str) -> None:
    """Let it live TIME from now, such as 24h, whether anybody uses it or not."""
    _ask(session, "extend", which, project, repository, seconds=_seconds(time_))
    found = _find(_previews(session, project), which)
    click.echo(f"{which} lives until {found['expires_at']}" if found else f"{which} is gone")


@preview.command()
@_WHICH
@_REPOSITORY
@of_project
@click.pass_obj
def restart(session: Session, *, which: str, repository: str, project: str) -> None:
    """Build and start it again."""
    _ask(session, "restart", which, project, repository)
    click.echo(f"{which} is being started again")


@preview.command()
@click.argument("number", type=click.IntRange(1))
@click.argument("sha")
@_REPOSITORY
@of_project
@click.pass_obj
def approve(session: Session, *, number: int, sha: str, repository: str, project: str) -> None:
    """Let the whole commit SHA of a fork's pull request be previewed, after you have read it."""
    place = session.resolve(Scope(project))
    body = {"project": place.project, "number": number, "sha": sha.lower(), "repository": repository}
    command = waiting.ask(session, "/v1/previews/approvals", body)
    waiting.decided(session, command, DECISION_LIMIT)
    click.echo(f"{sha[:12]} of {number} is being built")


def _ask(session: Session, verb: str, which: str, project: str, repository: str, **more: Any) -> None:
    place = session.resolve(Scope(project))
    named = {"number": int(which)} if which.isdecimal() else {"branch": which}
    body = {"project": place.project, "verb": verb, "repository": repository, **named, **more}
    command = waiting.ask(session, "/v1/previews", body)
    waiting.decided(session, command, DECISION_LIMIT)


def _previews(session: Session, project: str) -> dict[str, Any]:
    place = session.resolve(Scope(project))
    found: dict[str, Any] = session.api.get("/v1/previews", {"project": place.project})
    return found


def _find(answer: dict[str, Any], which: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = answer["previews"]
    named = (one for one in found if which in (one["branch"], str(one["number"] or ""), one["environment"]))
    return next(named, None)


def _answers(session: Session, project: str, which: str, deadline: float) -> dict[str, Any]:
    """The preview once it is ready. Raises Failure when it fails or waits for somebody."""
    while True:
        found = _find(_previews(session, project), which)
        if found is not None and found["state"] == "ready":
            return found
        if found is not None and found["state"] == "failed":
            advice = f"enclii why {found['run']}" if found["run"] else ""
            raise Failure(found["message"], reason=found["reason"] or "failed", exit_code=STILL_OLD, advice=advice)
        if found is not None and found["state"] == "waiting":
            raise Failure(found["message"], reason=found["reason"], exit_code=REFUSED)
        _in_time(deadline, "it does not answer yet")


def _in_time(deadline: float, what: str) -> None:
    """Pause between two questions. Raises Failure when the time is over."""
    if time.monotonic() >= deadline:
        raise Failure(what, reason="timeout", exit_code=TIMED_OUT, advice="enclii preview list")
    time.sleep(PAUSE)  # a preview may wait for hours, so no stream is held open for it


def _seconds(text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise click.UsageError(f"{text!r}: {error}") from None
