"""``enclii secret``: values go from a pipe or a prompt into the cluster, sealed; only names and versions come back."""

from __future__ import annotations

import sys
import time
import uuid
from typing import Any, Final

import click

from console.client import USAGE, Failure, path
from console.commands import build_secret, waiting
from console.commands.options import formatted, scoped, show
from console.session import Scope, Session
from console.views import table, when

DECISION_LIMIT: Final = 60.0


for_builds = click.option("--build", is_flag=True, help="For builds of the service, and not for what runs.")


@click.group()
def secret() -> None:
    """Set, remove and list the secrets of a service. Values are never shown again."""


@secret.command(name="set")
@click.argument("name", metavar="NAME[=-]")
@click.option("--reason", default="", help="Why; kept in git.")
@for_builds
@scoped
@formatted
@click.pass_obj
def set_(session: Session, *, name: str, scope: Scope, output: str, reason: str, build: bool) -> None:
    """Set NAME to what comes from a pipe or is typed at the prompt; one line end is taken off.

    The service may be one that was never deployed yet.
    """
    name, equals, rest = name.partition("=")
    if equals and rest != "-":
        raise Failure(
            "a value on the command line is seen by every process of this machine, and kept by your shell",
            reason="value_in_arguments", exit_code=USAGE, advice=f"printf %s \"$VALUE\" | enclii secret set {name}=-",
        )  # fmt: skip
    place = session.resolve(scope, service=True, environment=not build)
    value = _value(session, name)
    if build:
        answer = build_secret.keep(session, place, name, value)
        show(answer, output, lambda _: f"builds of {place.project}/{place.service} may mount {name}")
        return
    command, version = _keep(session, place, name, value, reason)
    decisions = waiting.decided(session, command, session.limit(DECISION_LIMIT))
    answer = {"command": command, "name": name, "version": version, "decisions": decisions}
    show(answer, output, lambda _: f"{name} is v{version} in {place.project}/{place.environment} {place.service}")


@secret.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; kept in git.")
@for_builds
@scoped
@formatted
@click.pass_obj
def unset(session: Session, *, name: str, scope: Scope, output: str, reason: str, build: bool) -> None:
    """Name NAME no more. Older deployments, and a rollback to them, keep it."""
    place = session.resolve(scope, service=True, environment=not build)
    if build:
        show(build_secret.forget(session, place, name), output, lambda _: f"builds have {name} no more")
        return
    body = {**place.query(), "name": name, "why": reason}
    command = waiting.ask(session, "/v1/secrets/unset", body)
    decisions = waiting.decided(session, command, session.limit(DECISION_LIMIT))
    show({"command": command, "decisions": decisions}, output, lambda _: f"{name} is no longer set")


@secret.command(name="list")
@for_builds
@scoped
@formatted
@click.pass_obj
def list_(session: Session, *, scope: Scope, output: str, build: bool) -> None:
    """Names, versions, who set them and when; LIVE is what the running deployment has."""
    place = session.resolve(scope, service=True, environment=not build)
    if build:
        found = build_secret.listed(session, place)
        show(found, output, lambda answer: build_secret.lines(session, answer), rows="secrets")
        return
    answer = session.api.get(path("services", place.service_id, "secrets"), {"environment": place.environment})
    show(answer, output, lambda found: _table(session, found), rows="secrets")


def _table(session: Session, answer: dict[str, Any]) -> str:
    now, relative = session.now(), session.terminal
    rows = [
        [one["name"], _version(one["version"]), _version(one["live"]), one["by"],
         when(one["at"], now, relative=relative) if one["at"] else ""]
        for one in answer["secrets"]
    ]  # fmt: skip
    return table(("NAME", "VERSION", "LIVE", "BY", "WHEN"), rows)


def _version(number: int | None) -> str:
    return f"v{number}" if number else "-"


def _value(session: Session, name: str) -> bytes:
    if sys.stdin.isatty():
        typed: str = click.prompt(f"{name}", hide_input=True, err=True)
        return typed.encode()
    found = sys.stdin.buffer.read()
    return found.removesuffix(b"\n").removesuffix(b"\r")


def _keep(session: Session, place: Scope, name: str, value: bytes, reason: str) -> tuple[str, int]:
    """Seal the value here and hand it on; a request that got no answer is made again under the same key."""
    import base64

    from pipeline.sealing import seal
    from pipeline.secret_requests import VALUE_LIMIT, context

    if not 0 < len(value) <= VALUE_LIMIT:
        raise Failure(f"a value has 1 byte to {VALUE_LIMIT >> 10} KiB", reason="bad_value", exit_code=USAGE)
    public = base64.b64decode(session.api.get("/v1/secrets/key")["key"])
    where = context(place.project, place.environment, place.service, name)
    sealed = base64.b64encode(seal(value, to=public, context=where)).decode()
    body = {**place.query(), "name": name, "sealed": sealed, "why": reason}
    key = f"c-{uuid.uuid4()}"
    try:
        answer = session.api.post("/v1/secrets", body, key=key)
    except Failure as failure:
        if failure.reason not in {"api_away", "bad_answer", "nats_away", "no_answer"}:
            raise
        time.sleep(1.0)  # what did not answer is given a moment: there is nothing to wait on
        answer = session.api.post("/v1/secrets", body, key=key)
    return str(answer["command"]), int(answer["version"])
