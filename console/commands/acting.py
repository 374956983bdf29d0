"""The verbs that ask for something: hold, resume, deploy, cancel, destroy, parked.

Each publishes one command and waits for its decision; a refusal is told with its reason and exit code 6.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

import click

from console import views
from console.client import NOT_FOUND, Failure, path
from console.commands import waiting
from console.commands.options import completed, confirm, formatted, scoped, show, shown, watched
from console.session import Scope, Session
from console.texts import printable

DECISION_LIMIT: Final = 60.0


def settle(session: Session, address: str, body: dict[str, Any], output: str) -> None:
    """Ask, wait for the decision and print it. Raises Failure when it is a refusal."""
    command = waiting.ask(session, address, body)
    decisions = waiting.decided(session, command, session.limit(DECISION_LIMIT))
    answer = {"command": command, "decisions": decisions}
    show(answer, output, lambda _: "\n".join(map(_told, decisions)), rows="decisions")


def _told(decision: dict[str, Any]) -> str:
    told = printable(f"{decision['service']}  {decision['message'] or decision['outcome']}".strip())
    if decision["reason"] != "planned":
        return told
    run, project = decision["run"], decision["project"]
    return f"{told}: run {run}\nfollow it: enclii status --watch -p {project} --run {run}"


@click.command()
@click.option("--reason", default="", help="Why; kept in git.")
@scoped
@formatted
@click.pass_obj
def hold(session: Session, *, scope: Scope, output: str, reason: str) -> None:
    """Keep what is live; newer releases wait. Without -s: every service of the environment."""
    place = session.resolve(scope, environment=True)
    settle(session, "/v1/holds", {**place.query(), "why": reason}, output)


@click.command()
@click.option("--reason", default="", help="Why; kept in git.")
@scoped
@formatted
@click.pass_obj
def resume(session: Session, *, scope: Scope, output: str, reason: str) -> None:
    """End a hold; the newest waiting release is deployed. Without -s: every service of the environment."""
    place = session.resolve(scope, environment=True)
    settle(session, "/v1/resumes", {**place.query(), "why": reason}, output)


@click.command()
@click.argument("sha", metavar="[SHA|vN]", default="", shell_complete=completed("releases"))
@click.option("--force", is_flag=True, help="Even where it does not descend from what is deployed.")
@click.option("--reason", default="", help="Why; kept in git.")
@scoped
@formatted
@click.pass_obj
def deploy(session: Session, *, sha: str, force: bool, scope: Scope, output: str, reason: str) -> None:
    """Deploy a commit again, or a release such as v41; by default the newest release."""
    number = sha.removeprefix("v") if sha.startswith("v") else ""
    place = session.resolve(scope, environment=True, service=number.isdecimal() or not sha)
    number = number if sha else _newest(session, place)
    wanted = {"release": f"{place.service_id}.v{int(number)}"} if number.isdecimal() else {"sha": sha.lower()}
    settle(session, "/v1/deploys", {**place.query(), **wanted, "force": force, "why": reason}, output)


def _newest(session: Session, place: Scope) -> str:
    query = {"environment": place.environment, "limit": 1}
    found = session.api.get(path("services", place.service_id, "releases"), query)["releases"]
    if not found:
        raise Failure(
            f"{place.service} has no release yet", reason="no_release", exit_code=NOT_FOUND, advice="git push"
        )
    return str(found[0]["number"])


@click.command()
@click.argument("run", shell_complete=completed("runs"))
@formatted
@click.pass_obj
def cancel(session: Session, *, run: str, output: str) -> None:
    """Stop the run RUN."""
    settle(session, "/v1/cancels", {"run": run}, output)


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why; kept in git.")
@scoped
@formatted
@click.pass_obj
def destroy(session: Session, *, scope: Scope, output: str, yes: bool, reason: str) -> None:
    """Remove a service from an environment."""
    place = session.resolve(scope, service=True, environment=True)
    if not yes:
        confirm(session, f"Remove {place.service} from {place.project}/{place.environment}?")
    settle(session, "/v1/destroys", {**place.query(), "why": reason}, output)


@click.command()
@click.argument("verb", type=click.Choice(["retry", "drop"]), required=False)
@click.argument("wanted", metavar="[ID]", required=False)
@watched
@formatted
@click.pass_obj
def parked(session: Session, *, verb: str | None, wanted: str | None, output: str, watch: bool) -> None:
    """Events that failed for good: list them, or retry or drop one."""
    if verb is None:

        def text(answer: Any, now: datetime.datetime) -> str:
            return views.parked(answer, now, relative=session.terminal)

        shown(session, lambda: session.api.get("/v1/parked"), text, output, "parked", watch=watch)
        return
    if not wanted or watch:
        raise click.UsageError(f"enclii parked {verb} ID")
    show(session.api.post(path("parked", wanted, verb)), output, lambda it: f"{it['id']} {it['status']}")
