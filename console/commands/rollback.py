"""``enclii rollback``: back to an earlier release, by a revert in git, and held there until somebody resumes."""

from __future__ import annotations

import time
from typing import Final

import click

from console import views
from console.client import NOT_FOUND, Failure, path
from console.commands import waiting
from console.commands.options import formatted, scoped, show, tell, timed
from console.session import Scope, Session

LIVE_LIMIT: Final = 300.0


def _version(_: click.Context, __: click.Parameter, text: str) -> int:
    number = text.removeprefix("v")
    if not text:
        return 0
    if not (number.isascii() and number.isdecimal() and int(number) > 0):
        raise click.BadParameter("a release such as v41")
    return int(number)


@click.command()
@click.option("--to", default="", callback=_version, metavar="vN", help="Release; else the last healthy one.")
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
    to: int,
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
        waiting.decided(session, command, left)
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
