"""``enclii backup`` and ``enclii restore``: the event store as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.client import Failure
from console.commands.options import tell
from console.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = click.Path(dir_okay=False, path_type=Path)


def _of_a_server(command: Callable[..., None]) -> Callable[..., None]:
    """Which event store is meant."""
    for option in (
        click.option("--password-file", type=_FILE, default=None, help="With --nats: the password of its user backup."),
        click.option("--ca", type=_FILE, default=None, help="With --nats: who signed the servers' certificates."),
        click.option("--nats", default="", metavar="URL", help="Another event store than this machine's Enclii has."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("file", type=_FILE)
@click.option("--wait", default="60s", show_default=True, help="How long stages may take to end their work.")
@_of_a_server
@click.pass_obj
def backup(session: Session, *, file: Path, wait: str, nats: str, ca: Path | None, password_file: Path | None) -> None:
    """Write the event store to FILE, verified by checksum; keys are named in it and never contained."""
    from console import backing_up
    from pipeline import parsing
    from pipeline.errors import EncliiError

    try:
        place = backing_up.Place(session.home, nats, ca, password_file)
        found = backing_up.backup(place, file, wait=parsing.duration(wait))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--wait") from error
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason) from error
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", reason="not_written") from error
    for one in found.streams:
        click.echo(f"{one.name:<6} {one.stands[0]} messages")
    tell("git, the registry and the keys are not in it: docs/runbooks/restore.md")


@click.command()
@click.argument("file", type=_FILE)
@_of_a_server
@click.pass_obj
def restore(session: Session, *, file: Path, nats: str, ca: Path | None, password_file: Path | None) -> None:
    """Restore the event store from FILE into an empty one; what was interrupted goes on when it is run again."""
    from console import backing_up
    from pipeline.errors import EncliiError

    try:
        done = backing_up.restore(backing_up.Place(session.home, nats, ca, password_file), file, environ=session.env)
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason) from error
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}", reason="not_read") from error
    click.echo(f"restored: {', '.join(done)}" if done else "all of it is there already")
