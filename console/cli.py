"""The ``enclii`` program: finds the command, runs it, and turns how it ended into an exit code and a legible error.

Commands are imported when they are called, so that ``--help`` and completion stay fast.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from console.client import FAILED, INTERRUPTED, NOT_FOUND, NOT_LOGGED_IN, REFUSED, STILL_OLD, TIMED_OUT, USAGE, Failure
from console.flags import everywhere
from console.session import Session

TITLES: Final = {
    USAGE: "That is not valid",
    TIMED_OUT: "Not decided yet",
    NOT_LOGGED_IN: "Not logged in",
    NOT_FOUND: "Not found",
    REFUSED: "Refused",
    STILL_OLD: "The deployment failed; what was live still is",
}
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("platform", "Start Enclii on this machine (-d: in the background)."),
    "down": ("platform", "Stop what up started; --purge leaves nothing."),
    "open": ("opening", "Print an address that logs a browser in, once."),
    "login": ("login", "Log this command line in, by a browser anywhere."),
    "logout": ("login", "Forget the login, here and at the server."),
    "whoami": ("login", "Who one is, and what one may."),
    "token": ("token", "Tokens for machines: create, list, revoke."),
    "audit": ("audit", "Who did what, by which way and in which role."),
    "backup": ("backup", "Write the event store to a file."),
    "restore": ("backup", "Restore the event store from a file into an empty one."),
    "install": ("install", "Install or upgrade Enclii itself in a cluster."),
    "cluster": ("cluster", "The clusters that services run on: add, list, remove."),
    "bootstrap": ("bootstrap", "Write what Argo CD or Flux needs to sync the config repository."),
    "init": ("init", "Look at this folder and write its enclii.yaml."),
    "link": ("link", "Register a repository and its branches."),
    "github": ("github", "Make a GitHub App for this installation."),
    "adopt": ("adopt", "Take files of yours in the config repository under management."),
    "status": ("reading", "What is wanted, what is live, what to do next."),
    "diff": ("reading", "What an apply of what git says would change in the cluster."),
    "ps": ("reading", "The processes of your services."),
    "logs": ("logs", "The lines of a service, or of a build."),
    "exec": ("exec", "Run a command in a running replica: enclii exec web -- sh."),
    "events": ("events", "What happens, from every stage."),
    "builds": ("builds", "What was built, from which cache, and what took long."),
    "releases": ("reading", "The releases of a service."),
    "rollback": ("rollback", "Go back to an earlier release, and hold there."),
    "hold": ("acting", "Keep what is live; newer releases wait."),
    "resume": ("acting", "End a hold; the newest waiting release is deployed."),
    "deploy": ("acting", "Deploy a commit again."),
    "preview": ("preview", "Run a branch or pull request under an address of its own."),
    "promote": ("promoting", "Bring what runs in one environment into another, as one set."),
    "promotions": ("promoting", "What is on its way between environments, and what it waits for."),
    "approve": ("promoting", "Say yes to a promotion."),
    "reject": ("promoting", "Say no to a promotion."),
    "check": ("promoting", "Report a check of a commit."),
    "freeze": ("promoting", "Stop everything new everywhere; rollbacks go on."),
    "thaw": ("promoting", "End the freeze; what waits goes on."),
    "rebuild": ("builds", "Build a commit again (--no-cache: from nothing)."),
    "cancel": ("acting", "Stop a run that is on its way."),
    "destroy": ("acting", "Remove a service from an environment."),
    "scale": ("configuring", "Run more or fewer replicas of a service."),
    "restart": ("configuring", "Replace every replica by a new one of the same release."),
    "secret": ("secret", "Set, remove and list secrets; values are never shown."),
    "env": ("configuring", "What a service is configured with, and what differs."),
    "caddyfile": ("caddyfile", "Print a Caddyfile for your domains, before the front door."),
    "why": ("reading", "What was decided about a push, commit, release or command, and why."),
    "trace": ("trace", "Where the time of a push or a command went, up to the rollout."),
    "verify": ("verify", "Check a release or an image as the gate does."),
    "retention": ("retention", "What the registry keeps and sheds; --apply frees its storage."),
    "doctor": ("doctor", "Check this installation."),
    "parked": ("acting", "Events that failed for good: show, retry or drop them."),
    "api": ("api", "Ask the API itself: enclii api GET /v1/projects."),
    "completion": ("completion", "Print what makes bash, zsh or fish complete enclii's words."),
}


class Verbs(click.Group):
    """A group that knows its commands by name and one line, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"console.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, {"exec": "exec_", "open": "open_"}.get(cmd_name, cmd_name))
        return everywhere(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from console.texts import suggestion

            raise click.UsageError(f"no command {args[0]!r}{suggestion(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table above, without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="enclii", message="enclii %(version)s")
def enclii() -> None:
    """A push becomes a signed, running, revertible release. These flags may also stand behind a command."""


everywhere(enclii, hidden=False)


def run(arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
    """Run one command and return its exit code; errors are told on stderr."""
    session = Session(env, cwd)
    try:
        code = enclii.main(list(arguments), prog_name="enclii", standalone_mode=False, obj=session)
        return code if isinstance(code, int) else 0
    except Failure as failure:
        click.echo(problem(failure) if _wants_json(arguments) else explain(failure), err=True)
        return failure.exit_code
    except click.ClickException as error:
        if not _wants_json(arguments):
            error.show()
        else:
            wrong = Failure(error.format_message(), reason="usage", exit_code=error.exit_code, advice="add --help")
            click.echo(problem(wrong), err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"detached; {session.goes_on or 'nothing was changed by that'}", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader has left: nothing can be flushed to it at exit
        return FAILED


def explain(failure: Failure) -> str:
    """What failed, why as a code, what is live now where that is known, and what to do next."""
    lines = [f"error: {failure.message}", f"  reason: {failure.reason}"]
    lines += [f"  live: {failure.live}"] if failure.live else []
    return "\n".join([*lines, f"  next: {_next(failure)}"])


def _next(failure: Failure) -> str:
    """What to do: what who failed knows best, else what the reason asks for."""
    if failure.advice:
        return failure.advice
    from console.advice import next_step

    return next_step(failure.reason, failure.exit_code)


def problem(failure: Failure) -> str:
    """The same as an RFC 9457 problem, as the API writes them."""
    import json

    told = {
        "type": "about:blank",
        "title": TITLES.get(failure.exit_code, "Failed"),
        "detail": failure.message,
        "reason_code": failure.reason,
        "exit_code": failure.exit_code,
        "live": failure.live,
        "next": _next(failure),
    }
    return json.dumps(told, ensure_ascii=False)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a form for programs was asked for; a command that could not even be parsed must honour it too."""
    said = " ".join(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    forms = (f" {flag}{form}" for flag in ("-o ", "-o", "--output ", "--output=") for form in ("json", "yaml"))
    return any(form in f" {said} " for form in forms)


def main() -> None:
    """The program's entry."""
    sys.exit(run(sys.argv[1:], os.environ, Path.cwd()))


if __name__ == "__main__":
    main()
