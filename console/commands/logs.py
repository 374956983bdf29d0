"""``enclii logs``: what a service prints, all its processes merged, or what a build printed."""

from __future__ import annotations

import datetime
import re
from typing import Any, Final

import click

from console import views
from console.client import NOT_FOUND, Failure, path
from console.commands.builds import one_build
from console.commands.options import scoped, tell
from console.forms import MACHINES, rendered
from console.session import Scope, Session
from console.texts import printable

NEWEST: Final = "newest"
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def since_moment(text: str, now: datetime.datetime, *, flag: str = "--since") -> str:
    """RFC 3339 of ``10m``, ``2h`` or a time. Raises BadParameter."""
    if not text:
        return ""
    if span := _SPAN.fullmatch(text):
        return (now - datetime.timedelta(seconds=int(span[1]) * _UNITS[span[2]])).isoformat()
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC).isoformat()
    except ValueError:
        raise click.BadParameter("a span such as 10m, or a time as RFC 3339", param_hint=flag) from None


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-t", "--tail", "follow", is_flag=True, hidden=True)
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=100, show_default=True, help="Last lines.")
@click.option("--since", default="", help="Only newer than 10m, 2h, or a time.")
@click.option("--until", default="", help="Only older than 10m, 2h, or a time.")
@click.option("--release", default="", metavar="v41", help="Only what this release printed.")
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
@click.option("--raw", is_flag=True, help="The program's own lines, without the replica before them.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "jsonl", "yaml", "name"]), default="table",
    help="wide: with time and release; json, jsonl: one object a line.",
)  # fmt: skip
@scoped
@click.pass_obj
def logs(
    session: Session,
    *,
    scope: Scope,
    follow: bool,
    lines: int,
    since: str,
    until: str,
    release: str,
    raw: bool,
    build: str,
    previous: bool,
    grep: str,
    run: str,
    output: str,
) -> None:
    """The lines of a service, or of a build."""
    moment, wanted = since_moment(since, session.now()), _pattern(grep)
    end = since_moment(until, session.now(), flag="--until")
    if (build or run) and (previous or release or end or moment):
        raise click.UsageError("a build's log is whole: without --previous, --release, --since and --until")
    session.goes_on = "what prints goes on"
    if build or run:
        place = session.resolve(scope)
        chosen, service = _run_of(session, place, build, run)
        address = path("runs", chosen, "logs")
        query = {"service": service, "follow": follow}
    else:
        place = session.resolve(scope, service=True, environment=True)
        address = path("services", place.service_id, "logs")
        query = {"environment": place.environment, "follow": follow, "tail": str(lines), "since": moment}
        query |= {"until": end, "release": _version(release)} | ({"previous": previous} if previous else {})
    form = "raw" if raw or build or run else output
    told = False
    for event in session.api.events(address, query):
        told = True
        if wanted.search(event.data["text"]):
            click.echo(_text(event.data, output if output in MACHINES else form, safe=session.terminal))
    if not (told or build or run or previous or release or moment or end):
        tell(f"nothing was printed; what died may have left its last lines: enclii logs --previous {place.flags()}")


def _version(text: str) -> str:
    """``v41`` of ``v41`` or ``41``. Raises BadParameter."""
    number = text.removeprefix("v")
    if text and not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise click.BadParameter("a release such as v41", param_hint="--release")
    return f"v{number}" if text else ""


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
    """The newest run that the service, or else any, has a part in: one that no service is built by has no log."""
    for found in session.api.get("/v1/runs", {"project": place.project, "limit": 50})["runs"]:
        if place.service in found["services"] or (found["services"] and not place.service):
            return str(found["id"])
    raise Failure("nothing was built yet", reason="no_run", exit_code=NOT_FOUND, advice="git push")


def _text(line: dict[str, Any], form: str, *, safe: bool) -> str:
    if form in ("json", "jsonl", "yaml"):
        return ("---\n" if form == "yaml" else "") + rendered(line, "yaml" if form == "yaml" else "jsonl", str)
    if form == "name":
        return printable(line.get("replica", ""))
    said = views.log_line(line, prefix=form != "raw", safe=safe)
    when = [part for part in (line.get("time", ""), line.get("release", "")) if part] if form == "wide" else []
    return " ".join([*map(printable, when), said])
