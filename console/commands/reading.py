"""The verbs that only look: status, diff, ps, releases, why."""

from __future__ import annotations

import click

from console import texts, views
from console.client import FAILED, path
from console.commands.options import formatted, scoped, show
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
    show(answer, output, lambda it: views.status(it, session.now(), relative=session.terminal))
    return None


@click.command()
@scoped
@formatted
@click.pass_obj
def ps(session: Session, *, scope: Scope, output: str) -> None:
    """The processes of your services."""
    answer = session.api.get("/v1/ps", session.resolve(scope).query())
    show(answer, output, lambda it: views.processes(it, session.now()))


@click.command()
@scoped
@formatted
@click.pass_obj
def diff(session: Session, *, scope: Scope, output: str) -> int:
    """What an apply of what git says would change in the cluster; exit code 1 when it is anything."""
    found = session.resolve(scope, service=True)
    answer = session.api.get(path("services", found.service_id, "diff"), {"environment": found.environment})
    show(answer, output, lambda it: "\n".join(texts.printable(line) for line in it["changes"]) or "no difference")
    return FAILED if answer["changes"] else 0


@click.command()
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@scoped
@formatted
@click.pass_obj
def releases(session: Session, *, scope: Scope, output: str, limit: int) -> None:
    """The releases of a service, newest first; * is live."""
    found = session.resolve(scope, service=True)
    query = {"limit": limit, "environment": found.environment}
    answer = session.api.get(path("services", found.service_id, "releases"), query)
    show(answer, output, lambda it: views.releases(it, session.now(), relative=session.terminal))


@click.command()
@click.argument("what")
@scoped
@formatted
@click.pass_obj
def why(session: Session, *, what: str, scope: Scope, output: str) -> None:
    """What was decided about WHAT, and why: a delivery, run, commit, command, deployment, or a release such as v41."""
    wanted = what
    if what.startswith("v") and what[1:].isdecimal():
        wanted = f"{session.resolve(scope, service=True).service_id}.{what}"
    answer = session.api.get(path("why", wanted))
    show(answer, output, lambda it: views.why(it, session.now(), relative=session.terminal))
