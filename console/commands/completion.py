"""``enclii completion``: the lines that make a shell complete commands, flags and the names that the API knows."""

from __future__ import annotations

import click

from console.commands.options import tell
from console.session import Session

WHERE = {
    "bash": 'eval "$(enclii completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(enclii completion zsh)"  in ~/.zshrc',
    "fish": "enclii completion fish > ~/.config/fish/completions/enclii.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(WHERE)))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what makes SHELL complete enclii's words."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    told = kind(context.find_root().command, {}, "enclii", "_ENCLII_COMPLETE")
    # Not source(): for bash that starts a shell to ask for its version.
    click.echo(told.source_template % told.source_vars())
    if context.ensure_object(Session).terminal:
        tell(f"# {WHERE[shell]}")
