"""``enclii retention``: what the registry keeps and sheds; with ``--apply``, shed it and free the storage."""

from __future__ import annotations

from typing import Any, Final

import click

from console import retention_views
from console.client import Failure
from console.commands import waiting
from console.commands.options import confirm, formatted, show, tell
from console.session import Session
from console.texts import printable

SHED_LIMIT: Final = 600.0


@click.command()
@click.option("--apply", "carry_out", is_flag=True, help="Shed what the plan sheds, then free the registry's storage.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why; kept with the decision.")
@formatted
@click.pass_obj
def retention(session: Session, *, carry_out: bool, yes: bool, reason: str, output: str) -> None:
    """What the registry keeps, and what it sheds, and why."""
    plan = session.api.get("/v1/retention")
    if not carry_out:
        show(plan, output, lambda it: retention_views.plan(it, wide=output == "wide"), rows="lines")
        return
    if not yes:
        tell(retention_views.plan(plan))
        confirm(session, "Shed these?")
    decision = _shed(session, plan, reason) if plan["shed"] or plan["logs"] else None
    collected = _collected(session)
    show({"plan": plan, "decision": decision, "collected": collected}, output, retention_views.done)


def _shed(session: Session, plan: dict[str, Any], reason: str) -> dict[str, Any]:
    """Ask for exactly what was seen, and wait for the decision."""
    command = waiting.ask(session, "/v1/retentions", {"expected": plan["token"], "why": reason})
    decision = waiting.decided(session, command, session.limit(SHED_LIMIT))[0]
    tell(printable(decision["message"]))
    return decision


def _collected(session: Session) -> dict[str, int] | None:
    """Bytes before and after, where the registry is the one that ``enclii up`` runs here; else None."""
    from console import collection
    from pipeline.errors import EncliiError

    if not collection.is_here(session.home):
        tell("the registry is not run here: its own garbage collection frees what was shed")
        return None
    try:
        return collection.collect(session.home, quiet=lambda: not session.api.get("/v1/retention/storing")["jobs"])
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason) from error
