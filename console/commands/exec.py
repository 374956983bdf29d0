"""``enclii exec``: a command in a running replica, with a terminal when there is one here, else with plain pipes."""

from __future__ import annotations

import sys
from typing import Any

import click

from console.client import path
from console.commands.options import in_environment, of_project
from console.session import Scope, Session


@click.command(name="exec")
@click.argument("service")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--replica", default="", metavar="web.2", help="In this one of those that ps shows; else in any.")
@click.option("-t/-T", "--tty/--no-tty", default=None, help="With a terminal; else when there is one here.")
@of_project
@in_environment
@click.pass_obj
def exec_(
    session: Session, *, service: str, command: tuple[str, ...], replica: str, tty: bool | None, project: str,
    environment: str,
) -> int:  # fmt: skip
    """Run a command in a replica of SERVICE: enclii exec web -- sh. Its exit code is this one's."""
    from console import remote

    place = session.resolve(Scope(project, service, environment), service=True, environment=True)
    terminal = sys.stdin.isatty() and sys.stdout.isatty() if tty is None else tty
    body: dict[str, Any] = {"environment": place.environment, "command": list(command), "replica": replica}
    body |= {"terminal": remote.size_here()} if terminal else {}
    opened = session.api.post(path("services", place.service_id, "exec"), body)
    return remote.attach(session.api, str(opened["session"]), terminal=terminal)
