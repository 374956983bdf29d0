"""``enclii github setup``: let GitHub make an App for this installation, and keep its credential."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import TYPE_CHECKING, Final

import click

from console.client import FAILED, TIMED_OUT, USAGE, Failure
from console.commands.options import tell
from console.session import Session

if TYPE_CHECKING:
    from gitops.forge.github_setup import Hook

LIMIT: Final = 600.0
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?")
_OWNER: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})")


@click.group()
def github() -> None:
    """GitHub's side of this installation."""


@github.command()
@click.option("--host", default="github.com", show_default=True, help="GitHub's host; your own of GitHub Enterprise.")
@click.option("--organization", default="", help="Make the App theirs; else it is yours.")
@click.option("--name", default="", help="What the App is called on GitHub; else enclii-INSTANCE.")
@click.option("--url", default="", help="Where GitHub reaches the receiver; else ENCLII_RECEIVER_URL.")
@click.option("--api", default="", help="The API's address, where it is not the usual one of the host.")
@click.option("--port", default=0, help="Port of the page on this machine; else any free one.")
@click.pass_obj
def setup(session: Session, *, host: str, organization: str, name: str, url: str, api: str, port: int) -> None:
    """Make a GitHub App by one click on GitHub, and keep its credential."""
    from console.callback import Callback
    from gitops.forge import github_setup
    from pipeline.errors import EncliiError

    if not _HOST.fullmatch(host) or (organization and not _OWNER.fullmatch(organization)):
        raise Failure("--host and --organization are names", reason="bad_argument", exit_code=USAGE)
    hook, instance, home = _hook(session, url)
    state = secrets.token_urlsafe(24)
    with Callback(state, port) as callback:
        callback.page = github_setup.page(
            site=github_setup.site_of(host, organization), state=state, name=name or f"enclii-{instance}", hook=hook,
            home=home, back=f"{callback.url}/back",
        )  # fmt: skip
        tell(f"Open this page in a browser of this machine: {callback.first}")
        code = callback.wait(session.limit(LIMIT))
    if not code:
        raise Failure("GitHub sent nobody back in time", reason="timeout", exit_code=TIMED_OUT, advice="say it again")
    folder = session.home / "forges"
    try:
        made = asyncio.run(github_setup.finish(host=host, api=api, code=code, hook=hook, folder=folder))
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason, exit_code=FAILED) from error
    click.echo(f"{made.slug} is made; its key is in {folder / f'{host}.json'}")
    tell(f"Install it where your repositories are: {made.html_url}/installations/new")
    tell("Start Enclii again, so that it speaks with GitHub: enclii down && enclii up -d")


def _hook(session: Session, url: str) -> tuple[Hook, str, str]:
    """The App's own hook at this installation's receiver, the installation's name and its console."""
    from console import installation
    from gitops.forge.github_setup import Hook
    from pipeline import hooks
    from pipeline.errors import EncliiError
    from pipeline.settings import Settings

    try:
        told = Settings.from_env(
            installation.environment(session.home, "console", environ=session.env), process="console"
        )
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE, advice="enclii up -d") from error
    root = told.webhook_secrets[0].reveal()
    token = hooks.app_hook(root)
    where = f"{(url or told.receiver_url).rstrip('/')}/hooks/github/{token}"
    return Hook(where, hooks.hook_secret(root, token)), told.instance, told.console_url
