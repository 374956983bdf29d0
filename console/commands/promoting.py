"""The verbs between environments: promote, promotions, approve, reject, check, freeze, thaw."""

from __future__ import annotations

import datetime
import time
from typing import Any, Final

import click

from console import views
from console.commands import waiting
from console.commands.acting import settle
from console.commands.options import formatted, of_project, scoped, show, shown, tell, timed, watched
from console.session import Scope, Session

LIVE_LIMIT: Final = 300.0


@click.command()
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@click.option("--from", "source", default="", metavar="ENVIRONMENT", help="Else the one that project.yaml names.")
@click.option("--to", "environment", required=True, metavar="ENVIRONMENT", help="Where to.")
@of_project
@click.option("--override-freeze", default="", metavar="REASON", help="Go in spite of a freeze; kept in git.")
@click.option("--force", is_flag=True, help="Even where it does not descend from what is deployed.")
@click.option("--reason", default="", help="Why; kept in git.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until all of it is live.")
@timed(LIVE_LIMIT)
@formatted
@click.pass_obj
def promote(
    session: Session,
    *,
    services: tuple[str, ...],
    source: str,
    environment: str,
    project: str,
    override_freeze: str,
    force: bool,
    reason: str,
    wait: bool,
    output: str,
) -> None:
    """Bring what SERVICE... run in one environment into another: the same images, in one commit."""
    timeout = session.limit(LIVE_LIMIT)
    place = session.resolve(Scope(project, "", environment))
    body = {
        "project": place.project, "environment": environment, "source": source, "services": list(services),
        "override_freeze": override_freeze, "force": force, "why": reason,
    }  # fmt: skip
    begun = time.monotonic()
    command = waiting.ask(session, "/v1/promotions", body)
    (decision,) = waiting.decided(session, command, timeout)
    gone = decision["outcome"] != "waiting"
    if wait and gone:
        tell(decision["message"])
        _live(session, place, services, begun + timeout)
    took = round(time.monotonic() - begun, 1)
    answer = {"command": command, "decision": decision, "live": wait and gone, "seconds": took}
    said = f"{', '.join(services)} live in {environment} · {took} s" if wait and gone else decision["message"]
    show(answer, output, lambda _: said)
    tell("See: enclii promotions" if not gone else f"Undo: enclii rollback --set {_set_of(command)}")


def _live(session: Session, place: Scope, services: tuple[str, ...], deadline: float) -> None:
    for service in services:
        here = Scope(place.project, service, place.environment)
        waiting.until(session, here, waiting.is_settled, before="", limit=max(deadline - time.monotonic(), 1.0))


def _set_of(command: str) -> str:
    from gitops.rules.promotion import promotion_id

    return promotion_id(command)


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="Also those that ended.")
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many.")
@watched
@scoped
@formatted
@click.pass_obj
def promotions(session: Session, *, scope: Scope, output: str, every: bool, limit: int, watch: bool) -> None:
    """What is on its way between environments, and what it waits for."""
    found = session.resolve(scope)
    query = {"project": found.project, "environment": found.environment, "limit": limit, "all": every}

    def text(answer: Any, now: datetime.datetime) -> str:
        return views.promotions(answer, now, relative=session.terminal)

    shown(session, lambda: session.api.get("/v1/promotions", query), text, output, "promotions", watch=watch)


@click.command()
@click.argument("promotion")
@click.option("--reason", default="", help="Why; kept in the decision.")
@formatted
@click.pass_obj
def approve(session: Session, *, promotion: str, reason: str, output: str) -> None:
    """Say yes to PROMOTION; where it is a branch, that merges it."""
    settle(session, "/v1/reviews", {"promotion": promotion, "verdict": "approved", "why": reason}, output)


@click.command()
@click.argument("promotion")
@click.option("--reason", default="", help="Why; kept in the decision.")
@formatted
@click.pass_obj
def reject(session: Session, *, promotion: str, reason: str, output: str) -> None:
    """Say no to PROMOTION, which ends it."""
    settle(session, "/v1/reviews", {"promotion": promotion, "verdict": "rejected", "why": reason}, output)


@click.group()
def check() -> None:
    """Checks of commits, which promotions may ask for."""


@check.command()
@click.argument("name")
@click.option("--sha", required=True, help="The full commit id.")
@click.option("--state", required=True, type=click.Choice(["pending", "success", "failure"]), help="How it stands.")
@click.option("--url", default="", help="Where it can be read.")
@of_project
@formatted
@click.pass_obj
def report(session: Session, *, name: str, sha: str, state: str, url: str, project: str, output: str) -> None:
    """Report the check NAME of a commit; the newest report counts."""
    place = session.resolve(Scope(project, "", ""))
    body = {"project": place.project, "name": name, "sha": sha.lower(), "state": state, "url": url}
    settle(session, "/v1/checks", body, output)


@click.command()
@click.option("--reason", default="", help="Why; kept in git.")
@formatted
@click.pass_obj
def freeze(session: Session, *, reason: str, output: str) -> None:
    """Stop everything new in every project and environment; rollbacks go on."""
    settle(session, "/v1/freezes", {"frozen": True, "why": reason}, output)


@click.command()
@click.option("--reason", default="", help="Why; kept in git.")
@formatted
@click.pass_obj
def thaw(session: Session, *, reason: str, output: str) -> None:
    """End the freeze; what waits goes on by itself."""
    settle(session, "/v1/freezes", {"frozen": False, "why": reason}, output)
