"""The verbs that only look: status, diff, ps, releases, why. With ``--watch``, again whenever something changed."""

from __future__ import annotations

import datetime
from typing import Any

import click

from console import texts, views
from console.client import FAILED, path
from console.commands.options import completed, formatted, scoped, show, shown, watched
from console.session import Scope, Session


@click.command()
@click.option("-w", "--watch", is_flag=True, help="Follow the newest run, stage by stage.")
@click.option("--run", default="", help="With --watch: follow this run, as soon as it begins.")
@scoped
@formatted
@click.pass_obj
def status(session: Session, *, scope: Scope, output: str, watch: bool, run: str) -> int | None:
    """What is wanted, what is live, what holds it, and what to do next."""
    if watch or run:
        from console.commands import watching

        return watching.watch(session, scope, run, output)
    found = session.resolve(scope)
    answer = session.api.get("/v1/status", found.query())
    wide = output == "wide"
    show(
        answer, output, lambda it: views.status(it, session.now(), relative=session.terminal, wide=wide),
        rows="services",
    )  # fmt: skip
    return None


@click.command()
@watched
@scoped
@formatted
@click.pass_obj
def ps(session: Session, *, scope: Scope, output: str, watch: bool) -> None:
    """The processes of your services."""
    query = session.resolve(scope).query()

    def text(answer: Any, now: datetime.datetime) -> str:
        return views.processes(answer, now, wide=output == "wide")

    shown(session, lambda: session.api.get("/v1/ps", query), text, output, "processes", watch=watch)


@click.command()
@scoped
@formatted
@click.pass_obj
def diff(session: Session, *, scope: Scope, output: str) -> int:
    """What an apply of what git says would change in the cluster; exit code 1 when it is anything."""
    found = session.resolve(scope, service=True)
    answer = session.api.get(path("services", found.service_id, "diff"), {"environment": found.environment})
    told = "\n".join(texts.printable(line) for line in answer["changes"]) or "no difference"
    show(answer, output, lambda _: told, rows="changes")
    return FAILED if answer["changes"] else 0


@click.command()
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@watched
@scoped
@formatted
@click.pass_obj
def releases(session: Session, *, scope: Scope, output: str, limit: int, watch: bool) -> None:
    """The releases of a service, newest first: * is live, → is wanted, AVAIL says whether the registry has it."""
    found = session.resolve(scope, service=True)
    query = {"limit": limit, "environment": found.environment, "available": True}
    address = path("services", found.service_id, "releases")

    def text(answer: Any, now: datetime.datetime) -> str:
        return views.releases(answer, now, relative=session.terminal, wide=output == "wide")

    shown(session, lambda: session.api.get(address, query), text, output, "releases", watch=watch)


@click.command()
@click.argument("what", shell_complete=completed("releases"))
@scoped
@formatted
@click.pass_obj
def why(session: Session, *, what: str, scope: Scope, output: str) -> None:
    """What was decided about WHAT, and why: a delivery, run, commit, command, deployment, or a release such as v41."""
    wanted = what
    if what.startswith("v") and what[1:].isdecimal():
        wanted = f"{session.resolve(scope, service=True).service_id}.{what}"
    answer = session.api.get(path("why", wanted))
    kinds = "runs,jobs,releases,deployments,promotions,decisions,parked"
    show(answer, output, lambda it: views.why(it, session.now(), relative=session.terminal), rows=kinds)
