"""``enclii token``: tokens for machines."""

from __future__ import annotations

import datetime
from typing import Any

import click

from console import token_views
from console.client import USAGE, Failure, path
from console.commands.options import formatted, show, shown, tell, watched
from console.session import Session


@click.group()
def token() -> None:
    """Tokens for machines: create, list, revoke."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "deployer", "admin"]), required=True, help="What it may.")
@click.option("-p", "--project", default="", help="Only in this project.")
@click.option("-e", "--environment", default="", help="Only in this environment of it.")
@click.option("--expires", default="90d", show_default=True, help="How long it lasts, such as 12h or 90d.")
@formatted
@click.pass_obj
def create(
    session: Session, *, name: str, role: str, project: str, environment: str, expires: str, output: str
) -> None:
    """Make a token and print it, this once."""
    from pipeline import parsing

    try:
        seconds = int(parsing.duration(expires))
    except ValueError as error:
        raise Failure(f"--expires: {error}", reason="bad_field", exit_code=USAGE) from error
    body = {"name": name, "role": role, "project": project, "environment": environment, "expires_in": seconds}
    answer = session.api.post("/v1/tokens", body)
    tell(f"it is shown this once and lasts until {answer['expires_at']}; to end it: enclii token revoke {answer['id']}")
    show(answer, output, lambda it: str(it["token"]))


@token.command("list")
@watched
@formatted
@click.pass_obj
def list_(session: Session, *, output: str, watch: bool) -> None:
    """One's own tokens, and those that one may revoke."""

    def text(answer: Any, now: datetime.datetime) -> str:
        return token_views.tokens(answer, now, wide=output == "wide")

    shown(session, lambda: session.api.get("/v1/tokens"), text, output, "tokens", watch=watch)


@token.command()
@click.argument("number", metavar="ID")
@formatted
@click.pass_obj
def revoke(session: Session, *, number: str, output: str) -> None:
    """End a token now."""
    show(session.api.post(path("tokens", number, "revoke")), output, lambda it: f"{it['id']} is revoked")
