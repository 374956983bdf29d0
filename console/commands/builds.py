"""``enclii builds`` and ``enclii rebuild``: what was built, how long each step took and why, and building it again."""

from __future__ import annotations

import datetime
from typing import Any

import click

from console import build_views
from console.client import path
from console.commands.acting import settle
from console.commands.options import formatted, scoped, show, shown, watched
from console.session import Scope, Session


@click.command()
@click.argument("what", required=False, default="")
@click.option("-n", "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
@watched
@scoped
@formatted
@click.pass_obj
def builds(session: Session, *, what: str, scope: Scope, output: str, limit: int, watch: bool) -> None:
    """The newest builds, or each step of one: WHAT is a release such as v41, or a run."""
    place = session.resolve(scope)
    if what:
        show(one_build(session, place, what), output, build_views.build)
        return
    query = {"project": place.project, "service": place.service, "limit": limit}

    def text(answer: Any, now: datetime.datetime) -> str:
        return build_views.builds(answer, now, relative=session.terminal, wide=output == "wide")

    shown(session, lambda: session.api.get("/v1/builds", query), text, output, "builds", watch=watch)


def one_build(session: Session, place: Scope, what: str) -> dict[str, object]:
    """The build of ``v41`` or of a run."""
    wanted = what
    if what.startswith("v") and what[1:].isdecimal():
        wanted = f"{session.resolve(place, service=True).service_id}.{what}"
    found: dict[str, object] = session.api.get(path("builds", wanted), {"service": place.service})
    return found


@click.command()
@click.argument("sha", required=False, default="")
@click.option("--no-cache", is_flag=True, help="Without what earlier builds left, too.")
@click.option("--reason", default="", help="Why; kept with the decision.")
@scoped
@formatted
@click.pass_obj
def rebuild(session: Session, *, sha: str, no_cache: bool, scope: Scope, output: str, reason: str) -> None:
    """Build a commit again though its image is known: SHA, else what is deployed."""
    place = session.resolve(scope, service=True, environment=True)
    body = {**place.query(), "sha": sha.lower(), "fresh": True, "no_cache": no_cache, "why": reason}
    settle(session, "/v1/deploys", body, output)
