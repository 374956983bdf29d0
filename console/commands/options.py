"""The flags that many commands share, and how an answer is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from console.session import Scope

F = TypeVar("F", bound=Callable[..., Any])


def scoped(function: F) -> F:
    """Add ``-p``, ``-s`` and ``-e`` and pass them as one ``scope``."""
    import functools

    @functools.wraps(function)
    def gathered(*args: Any, project: str, service: str, environment: str, **kwargs: Any) -> Any:
        return function(*args, scope=Scope(project, service, environment), **kwargs)

    options = (
        click.option("-p", "--project", default="", help="Project; else ENCLII_PROJECT, the git remote, the only one."),
        click.option("-s", "--service", default="", help="Service; else ENCLII_SERVICE, the only one."),
        click.option("-e", "--environment", default="", help="Environment; else ENCLII_ENVIRONMENT, the only one."),
    )
    decorated: Any = gathered
    for option in reversed(options):
        decorated = option(decorated)
    found: F = decorated
    return found


def formatted(function: F) -> F:
    """Add ``-o``."""
    choice = click.Choice(["table", "json"])
    option = click.option("-o", "--output", type=choice, default="table", show_default=True, help="How to print it.")
    return option(function)


def show(answer: Any, output: str, text: Callable[[Any], str]) -> None:
    """Print an answer as data on stdout."""
    click.echo(json.dumps(answer, ensure_ascii=False, indent=2) if output == "json" else text(answer))


def tell(line: str) -> None:
    """Print progress or a hint, which is not data, on stderr."""
    click.echo(line, err=True)
