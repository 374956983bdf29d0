"""``enclii rollback``: back to an earlier release, by a revert in git, and held there until somebody resumes."""

from __future__ import annotations

import re
import time
from typing import Final

import click

from console import views
from console.client import NOT_FOUND, Failure, path
from console.commands import waiting
from console.commands.options import completed, formatted, scoped, show, tell, timed
from console.session import Scope, Session

LIVE_LIMIT: Final = 300.0


_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})|([1-9][0-9]{0,5})")
_SHA: Final = re.compile(r"[0-9a-f]{7,64}")


def _goal(_: click.Context, __: click.Parameter, text: str) -> str:
    if text and not _VERSION.fullmatch(text) and not _SHA.fullmatch(text.lower()):
        raise click.BadParameter("a release such as v41, or a commit's id of at least seven digits")
    return text.lower()


def _number(session: Session, place: Scope, goal: str) -> int:
    """The release's number; of a commit, that of its newest release; 0 for the last healthy one. Raises Failure."""
    if not goal or (found := _VERSION.fullmatch(goal)):
        return int(found[1] or found[2]) if goal and found else 0
    query = {"environment": place.environment, "limit": 200}
    listed = session.api.get(path("services", place.service_id, "releases"), query)["releases"]
    number = next((int(one["number"]) for one in listed if one["git_sha"].startswith(goal)), 0)
    if not number:
        raise Failure(f"no release of {place.service} is of the commit {goal}", reason="no_such_release",
                      exit_code=NOT_FOUND, advice="enclii releases")  # fmt: skip
    return number


@click.command()
@click.option(
    "--to", "goal", default="", callback=_goal, metavar="vN|SHA", shell_complete=completed("releases"),
    help="Release; else the last healthy one.",
)  # fmt: skip
@click.option("--set", "whole", default="", metavar="PROMOTION", help="All that the promotion brought, together.")
@click.option("--plan", is_flag=True, help="Only show what would happen.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is live.")
@click.option("--no-hold", is_flag=True, help="Let the next release deploy as usual.")
@click.option("--reason", default="", help="Why; kept in git.")
@timed(LIVE_LIMIT)
@scoped
@formatted
@click.pass_obj
def rollback(
    session: Session,
    *,
    scope: Scope,
    output: str,
    goal: str,
    whole: str,
    plan: bool,
    wait: bool,
    no_hold: bool,
    reason: str,
) -> None:
    """Go back to an earlier release, and hold there."""
    timeout = session.limit(LIVE_LIMIT)
    if whole:
        _set(session, scope, whole, output, wait=wait, hold=not no_hold, reason=reason, timeout=timeout)
        return
    place = session.resolve(scope, service=True, environment=True)
    to = _number(session, place, goal)
    query = {"environment": place.environment, "to": to}
    found = session.api.get(path("services", place.service_id, "rollback-plan"), query)
    if plan:
        show(found, output, views.plan)
        return
    # The release that was shown is the one that is gone to, whatever became healthy since.
    number = int(found["to"].removeprefix("v")) if found["to"] else to
    body = {**place.query(), "to": number, "hold": not no_hold, "expected": found["expected"], "why": reason}
    begun = time.monotonic()
    command = waiting.ask(session, "/v1/rollbacks", body)
    for text in found["warnings"]:
        tell(f"warning: {text}")
    tell(f"{place.project}/{place.environment} {place.service}  {found['from']} → {found['to']}  ({command})")
    if wait:
        left = timeout - (time.monotonic() - begun)
        waiting.decided(session, command, left, named=False)
        tell("revert pushed")
        left = timeout - (time.monotonic() - begun)
        reached = waiting.is_live(found["image"])
        left = max(left, 1.0)
        waiting.until(session, place, reached, before=found["expected"], limit=left, image=found["image"])
    took = round(time.monotonic() - begun, 1)
    answer = {"command": command, "from": found["from"], "to": found["to"], "live": wait, "seconds": took}
    show(answer, output, lambda _: f"{found['to']} is live · {took} s" if wait else f"asked for {found['to']}")
    tell(f"Undo: enclii rollback --to {found['from']} {place.flags()}")
    if not no_hold:
        tell(f"Release the hold: enclii resume {place.flags()}")


def _set(
    session: Session, scope: Scope, wanted: str, output: str, *, wait: bool, hold: bool, reason: str, timeout: float
) -> None:
    """Take a promotion's services back in one commit, and wait for each."""
    found = session.api.get("/v1/promotions", {"all": True, "limit": 200})["promotions"]
    one = next((promotion for promotion in found if promotion["id"] == wanted), None)
    if one is None:
        raise Failure(f"no promotion {wanted!r}", reason="no_such_promotion", exit_code=NOT_FOUND,
                      advice="enclii promotions --all")  # fmt: skip
    body = {"project": one["project"], "environment": one["environment"], "set": wanted, "hold": hold, "why": reason}
    begun = time.monotonic()
    command = waiting.ask(session, "/v1/rollbacks", body)
    (decision,) = waiting.decided(session, command, timeout)
    tell("revert pushed")
    for member in one["members"] if wait else ():
        place = Scope(one["project"], member["service"], one["environment"])
        left = timeout - (time.monotonic() - begun)
        waiting.until(session, place, waiting.is_settled_without(member["image"]), before="", limit=max(left, 1.0))
    answer = {"command": command, "decision": decision, "live": wait, "seconds": round(time.monotonic() - begun, 1)}
    show(answer, output, lambda _: str(decision["message"]))
