"""``enclii api``: one request to the API, with the session's address and token."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from console.client import USAGE, Failure
from console.session import Session

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")


@click.command()
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path", metavar="PATH")
@click.option(
    "-f", "--field", "fields", multiple=True, metavar="NAME=VALUE", help="Of the body; JSON where it is that."
)
@click.option("-d", "--data", default="", metavar="JSON", help="The whole body; - reads it from a pipe.")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header, such as If-None-Match.")
@click.pass_obj
def api(
    session: Session, *, method: str, path: str, fields: tuple[str, ...], data: str, headers: tuple[str, ...]
) -> None:
    """Send METHOD to PATH, such as /v1/projects, and print the answer's body as it is."""
    if not path.startswith("/"):
        raise click.BadParameter("begins with /, such as /v1/projects", param_hint="PATH")
    if data and fields:
        raise click.UsageError("either --field or --data")
    body = sys.stdin.read() if data == "-" else data
    if fields:
        body = json.dumps(dict(_field(one) for one in fields))
    sent = {"Content-Type": "application/json"} if body else {}
    sent |= dict(_header(one) for one in headers)
    answer = session.api.call(method.upper(), path, body.encode() if body else None, sent)
    click.echo(answer, nl=not answer.endswith("\n") and bool(answer))


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise Failure(f"{text[:60]!r} is not NAME=VALUE", reason="bad_field", exit_code=USAGE)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name and colon) or not text.isascii() or not text.isprintable():
        raise Failure(f"{text[:60]!r} is not NAME:VALUE", reason="bad_header", exit_code=USAGE)
    return name, value.strip()
