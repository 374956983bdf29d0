"""The flags that every command takes, before its name or behind it; what they say is kept by the session."""

from __future__ import annotations

from typing import Any, Final

import click

from console.session import Session

_FLAGS: Final[tuple[tuple[tuple[str, ...], dict[str, Any]], ...]] = (
    (("--server",), {"metavar": "URL", "help": "The API; else ENCLII_SERVER, else the state folder's."}),
    (
        ("--timeout",),
        {"type": click.FloatRange(0.1, 86_400), "metavar": "SECONDS", "help": "Wait no longer than that."},
    ),
    (("--no-input",), {"is_flag": True, "help": "Never ask: a question that is needed is exit code 2."}),
    (("--no-color",), {"is_flag": True, "help": "Print no colours, as with NO_COLOR=1."}),
    (("-q", "--quiet"), {"is_flag": True, "help": "No progress and no hints on stderr; errors only."}),
    (("-v", "--verbose"), {"is_flag": True, "help": "Each request to the API on stderr, and how long it took."}),
)


def everywhere(command: click.Command, *, hidden: bool = True) -> click.Command:
    """Add the flags to a command and to all below it, but where it has one of that name of its own."""
    known = {name for parameter in command.params for name in parameter.opts}
    for names, how in _FLAGS:
        if not known & set(names):
            command.params.append(click.Option(names, expose_value=False, callback=kept, hidden=hidden, **how))
    if isinstance(command, click.Group):
        for one in command.commands.values():
            everywhere(one)
    return command


def kept(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The callback of a flag: the session knows it from now on."""
    session = context.find_object(Session)
    if session is not None and value not in (None, False, ""):
        session.keep(str(parameter.name), value)
    return value
