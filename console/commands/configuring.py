"""The verbs that change how a release runs: scale and restart; and ``env``, which shows what it is configured with."""

from __future__ import annotations

from typing import Any

import click

from console.client import USAGE, Failure, path
from console.commands.acting import settle
from console.commands.options import formatted, scoped, show
from console.session import Scope, Session
from console.texts import printable
from console.views import table


@click.command()
@click.argument("wanted", metavar="SERVICE=N")
@click.option("--reason", default="", help="Why; kept in git.")
@scoped
@formatted
@click.pass_obj
def scale(session: Session, *, wanted: str, scope: Scope, output: str, reason: str) -> None:
    """Run N replicas of SERVICE, also of its next releases; SERVICE=default goes by enclii.yaml again."""
    service, _, count = wanted.partition("=")
    if not service or not (count == "default" or (count.isascii() and count.isdecimal() and len(count) < 6)):
        raise Failure(
            "say SERVICE=N, for example web=3, with N from 0 to 99999; or web=default",
            reason="bad_count",
            exit_code=USAGE,
        )
    place = session.resolve(Scope(scope.project, service, scope.environment), service=True, environment=True)
    replicas = None if count == "default" else int(count)
    settle(session, "/v1/scales", {**place.query(), "replicas": replicas, "why": reason}, output)


@click.command()
@click.option("--reason", default="", help="Why; kept in git.")
@scoped
@formatted
@click.pass_obj
def restart(session: Session, *, scope: Scope, output: str, reason: str) -> None:
    """Replace every replica by a new one of the same release, without a gap. Without -s: every service there."""
    place = session.resolve(scope, environment=True)
    settle(session, "/v1/restarts", {**place.query(), "why": reason}, output)


@click.group()
def env() -> None:
    """What a service is configured with: plain values, and versions of secrets."""


@env.command(name="list")
@scoped
@formatted
@click.pass_obj
def list_(session: Session, *, scope: Scope, output: str) -> None:
    """The variables that git wants; secrets are shown by their version."""
    place = session.resolve(scope, service=True, environment=True)
    answer = _read(session, place)
    rows = [[name, value] for name, value in sorted(_flat(answer["wanted"]).items())]
    show(answer, output, lambda _: table(("NAME", "VALUE"), rows))


@env.command()
@click.option("--with", "other", default="", metavar="ENVIRONMENT", help="Compare with this environment.")
@scoped
@formatted
@click.pass_obj
def diff(session: Session, *, scope: Scope, output: str, other: str) -> None:
    """What runs against what git wants; or, with --with, what git wants in two environments."""
    place = session.resolve(scope, service=True, environment=True)
    here = _read(session, place)
    if other:
        there = _read(session, Scope(place.project, place.service, other))
        before, after = _flat(here["wanted"]), _flat(there["wanted"])
    else:
        before, after = _flat(here["live"]), _flat(here["wanted"])
    changes = _changes(before, after)
    show({"changes": changes}, output, lambda _: "\n".join(map(_told, changes)) or "no difference", rows="changes")


def _read(session: Session, place: Scope) -> dict[str, Any]:
    query = {"environment": place.environment}
    found: dict[str, Any] = session.api.get(path("services", place.service_id, "configuration"), query)
    return found


def _flat(side: dict[str, Any] | None) -> dict[str, str]:
    if side is None:
        return {}
    return {**side["env"], **{name: f"(secret {version})" for name, version in side["secrets"].items()}}


def _changes(before: dict[str, str], after: dict[str, str]) -> list[dict[str, Any]]:
    names = sorted({*before, *after})
    return [
        {"name": name, "from": before.get(name), "to": after.get(name)}
        for name in names
        if before.get(name) != after.get(name)
    ]


def _told(change: dict[str, Any]) -> str:
    gone = [f"- {change['name']}={change['from']}"] if change["from"] is not None else []
    new = [f"+ {change['name']}={change['to']}"] if change["to"] is not None else []
    return "\n".join(printable(line) for line in (*gone, *new))
