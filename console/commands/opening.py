"""``enclii open``: an address that logs a browser in, once."""

from __future__ import annotations

import click

from console.commands.options import formatted, show
from console.session import Session


@click.command("open")
@click.argument("page", default="/", metavar="[PATH]")
@formatted
@click.pass_obj
def open_(session: Session, *, page: str, output: str) -> None:
    """Print an address that logs a browser in, once, and leads to PATH, such as /runs/r-1."""
    answer = session.api.post("/v1/logins", {"next": page})
    show(answer, output, lambda it: str(it["address"]))
