"""``enclii logs``: what a service prints, all its processes merged, or what a build printed."""

from __future__ import annotations

import datetime
import re
from typing import Any, Final

import click

from console import views
from console.client import NOT_FOUND, Failure, path
from console.commands.builds import one_build
from console.commands.options import scoped
from console.session import Scope, Session

NEWEST: Final = "newest"
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def since_moment(text: str, now: datetime.datetime) -> str:
    """RFC 3339 of ``10m``, ``2h`` or a time. Raises BadParameter."""
    if not text:
        return ""
    if span := _SPAN.fullmatch(text):
        return (now - datetime.timedelta(seconds=int(span[1]) * _UNITS[span[2]])).isoformat()
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC).isoformat()
    except ValueError:
        raise click.BadParameter("a span such as 10m, or a time as RFC 3339", param_hint="--since") from None


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-t", "--tail", "follow", is_flag=True, hidden=True)
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=100, show_default=True, help="Last lines.")
@click.option("--since", default="", help="Only newer than 10m, 2h, or a time.")
@click.option(
    "--build",
    is_flag=False,
    flag_value=NEWEST,
    default="",
    metavar="[v41]",
    help="A build, live or stored; the newest.",
)
@click.option("--previous", is_flag=True, help="The last lines of the containers that died.")
@click.option("-g", "--grep", default="", metavar="RE", help="Only lines in which this regular expression is found.")
@click.option("--run", default="", help="That run's build.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one object a line.")
@scoped
@click.pass_obj
def logs(
    session: Session,
    *,
    scope: Scope,
    follow: bool,
    lines: int,
    since: str,
    build: str,
    previous: bool,
    grep: str,
    run: str,
    output: str,
) -> None:
    """The lines of a service, or of a build."""
    moment, wanted = since_moment(since, session.now()), _pattern(grep)
    if build or run:
        place = session.resolve(scope)
        chosen, service = _run_of(session, place, build, run)
        address = path("runs", chosen, "logs")
        query = {"service": service, "follow": follow}
    else:
        place = session.resolve(scope, service=True, environment=True)
        address = path("services", place.service_id, "logs")
        query = {"environment": place.environment, "follow": follow, "tail": str(lines), "since": moment}
        query |= {"previous": previous} if previous else {}
    for event in session.api.events(address, query):
        if wanted.search(event.data["text"]):
            click.echo(_text(event.data, output, safe=session.terminal, prefix=not (build or run)))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise click.BadParameter(f"not a regular expression: {error}", param_hint="--grep") from None


def _run_of(session: Session, place: Scope, build: str, run: str) -> tuple[str, str]:
    """The run whose log is wanted, and the service in it: a release's build may have been an earlier run's."""
    if build in ("", NEWEST) or run:
        return run or _newest_run(session, place), place.service
    found = one_build(session, place, build)
    return str(found["log_run"]), str(found["service"])


def _newest_run(session: Session, place: Scope) -> str:
    """The newest run that the service has a part in."""
    for found in session.api.get("/v1/runs", {"project": place.project, "limit": 50})["runs"]:
        if not place.service or place.service in found["services"]:
            return str(found["id"])
    raise Failure("nothing was built yet", reason="no_run", exit_code=NOT_FOUND, advice="git push")


def _text(line: dict[str, Any], output: str, *, safe: bool, prefix: bool) -> str:
    if output == "json":
        import json

        return json.dumps(line, ensure_ascii=False)
    return views.log_line(line, prefix=prefix, safe=safe)
