"""``enclii up`` and ``enclii down``: the processes on this machine."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

import click

from console.client import Client, Failure
from console.commands.options import confirm, tell
from console.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

READY_LIMIT: Final = 60.0
_OWN: Final = ("PROJECT", "SERVICE", "ENVIRONMENT", "SERVER", "TOKEN", "KEYRING")
"""What only the program itself reads; the processes would refuse to start on a setting that they don't know."""


def _environ(session: Session) -> Mapping[str, str]:
    own = {f"ENCLII_{name}" for name in _OWN}
    return {name: value for name, value in session.env.items() if name not in own}


@click.command()
@click.option("-d", "--detach", is_flag=True, help="In the background; returns when everything is ready.")
@click.pass_obj
def up(session: Session, *, detach: bool) -> int:
    """Start Enclii on this machine."""
    from console import platform
    from pipeline.errors import EncliiError

    try:
        if not detach:
            tell("once it is up, enclii open prints an address to log in with a browser")
            return platform.foreground(session.home, environ=_environ(session), terminal=sys.stderr.isatty())
        found = platform.up(session.home, environ=_environ(session))
        late = platform.not_ready(session.home, limit=READY_LIMIT)
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason) from error
    tell("already up" if found.already_up else "up")
    for name, address in (("api", found.console), ("git", found.githost), ("hooks", found.receiver),
                          ("services", found.door), ("registry", found.registry)):  # fmt: skip
        click.echo(f"{name:<9} {address}")
    if found.moved:
        tell(f"on another port than before, as that was taken: {', '.join(found.moved)}")
    if late:
        logs = session.home / "logs"
        raise Failure(f"not ready yet: {', '.join(late)}", reason="not_ready", advice=f"enclii doctor, or see {logs}")
    address = invite(session.home, found.console)
    click.echo(f"{'page':<9} {address or found.console}")
    tell("the page's address logs in once; another: enclii open" if address else "a login address: enclii open")
    return 0


def invite(home: Path, console: str) -> str:
    """An address that logs in once; "" when the console gives none at this moment."""
    from console.installation import token

    with contextlib.suppress(Failure):
        return str(Client(console, token(home, "ENCLII_API_TOKEN")).post("/v1/logins")["address"])
    return ""


@click.command()
@click.option("--purge", is_flag=True, help="Remove everything: containers, images, repositories, the state folder.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def down(session: Session, *, purge: bool, yes: bool) -> None:
    """Stop what up started."""
    from console import platform
    from pipeline.errors import EncliiError

    if purge and not yes:
        confirm(session, f"Remove everything in {session.home}?")
    try:
        was_up = platform.down(session.home, purge=purge)
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason) from error
    tell("down" if was_up else "nothing was up")
