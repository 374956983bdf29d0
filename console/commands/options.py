"""The flags that many commands share, and how an answer is printed."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, TypeVar

import click

from console.client import USAGE, Failure
from console.flags import kept
from console.forms import FORMS, rendered
from console.session import Scope, Session

F = TypeVar("F", bound=Callable[..., Any])


def scoped(function: F) -> F:
    """Add ``-p``, ``-s`` and ``-e`` and pass them as one ``scope``."""
    import functools

    @functools.wraps(function)
    def gathered(*args: Any, project: str, service: str, environment: str, **kwargs: Any) -> Any:
        return function(*args, scope=Scope(project, service, environment), **kwargs)

    decorated: Any = gathered
    for option in (in_environment, of_service, of_project):
        decorated = option(decorated)
    found: F = decorated
    return found


def of_project(function: F) -> F:
    """Add ``-p``."""
    return _named("-p", "--project", "Project; else ENCLII_PROJECT, the git remote, the only one.")(function)


def of_service(function: F) -> F:
    """Add ``-s``."""
    return _named("-s", "--service", "Service; else ENCLII_SERVICE, the only one.")(function)


def in_environment(function: F) -> F:
    """Add ``-e``."""
    return _named("-e", "--environment", "Environment; else ENCLII_ENVIRONMENT, the only one.")(function)


def _named(short: str, long: str, told: str) -> Callable[[F], F]:
    return click.option(short, long, default="", help=told, shell_complete=completed(long.strip("-") + "s"))


def completed(what: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A completer that is loaded when a shell asks for it."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
        from console import completing

        found: list[str] = getattr(completing, what)(context, parameter, begun)
        return found

    return complete


def formatted(function: F) -> F:
    """Add ``-o``."""
    choice = click.Choice(FORMS)
    option = click.option("-o", "--output", type=choice, default="table", show_default=True, help="How to print it.")
    return option(function)


def watched(function: F) -> F:
    """Add ``--watch``."""
    return click.option("-w", "--watch", is_flag=True, help="Again whenever something changed.")(function)


def timed(default: float) -> Callable[[F], F]:
    """Show the ``--timeout`` that every command has, with what it is here by default."""
    told = f"Seconds to wait.  [default: {default:g}]"
    kind = click.FloatRange(0.1, 86_400)
    return click.option("--timeout", type=kind, metavar="SECONDS", expose_value=False, callback=kept, help=told)


def show(answer: Any, output: str, text: Callable[[Any], str], *, rows: str = "") -> None:
    """Print an answer as data on stdout; ``rows`` names the lists in it that have a row each."""
    told = rendered(answer, output, text, rows)
    if told or output not in ("jsonl", "name"):
        click.echo(told)


def shown(
    session: Session, read: Callable[[], Any], text: Callable[[Any, datetime.datetime], str], output: str, rows: str,
    *, watch: bool,
) -> None:  # fmt: skip
    """Print what ``read`` answers; with ``watch`` again whenever it changed."""
    if watch:
        from console.commands import repeating

        repeating.keep_showing(session, read, text, output, rows)
        return
    show(read(), output, lambda it: text(it, session.now()), rows=rows)


def tell(line: str) -> None:
    """Print progress or a hint, which is not data, on stderr; nothing with ``--quiet``."""
    context = click.get_current_context(silent=True)
    session = context.find_object(Session) if context else None
    if session is None or not session.quiet:
        click.echo(line, err=True)


def confirm(session: Session, question: str) -> None:
    """Ask on a terminal. Raises Failure when nobody is there to be asked, for that must not hang, or says no."""
    if not session.asks:
        message = f"nobody is here to be asked: {question}"
        raise Failure(message, reason="confirmation_needed", exit_code=USAGE, advice="add --yes")
    if not click.confirm(question, err=True):
        raise Failure("nothing was changed", reason="declined")
