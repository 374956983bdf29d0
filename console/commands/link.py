"""``enclii link``: register a repository and its branches, and say what to paste into GitHub for its webhook.

Linking twice is linking once: the repository keeps its hook until ``--rotate`` makes a new one.
"""

from __future__ import annotations

from typing import Any

import click

from console.client import USAGE, Failure, path
from console.commands.acting import settle
from console.commands.options import formatted, tell
from console.session import Session


@click.command()
@click.argument("url")
@click.option("-p", "--project", default="", help="Project; else ENCLII_PROJECT, else the repository's name.")
@click.option("--name", default="", help="Name of the repository in Enclii; else its last part.")
@click.option(
    "--branch", "branches", multiple=True, metavar="ENVIRONMENT=BRANCH", help="For a new project: production=main."
)
@click.option("--protect", multiple=True, metavar="ENVIRONMENT", help="Refuse deployments out of order there.")
@click.option(
    "--forge", type=click.Choice(["github", "gitlab", "gitea", "forgejo", "bitbucket", "local"]), default=None,
    help="Else told by the host.",
)  # fmt: skip
@click.option(
    "--credential", default="", metavar="NAME",
    help="Of a private repository: file with a token or deploy key, in the state folder's credentials/HOST/.",
)  # fmt: skip
@click.option("--rotate", is_flag=True, help="Make a new webhook; the old one ends at once.")
@formatted
@click.pass_obj
def link(
    session: Session,
    *,
    url: str,
    project: str,
    name: str,
    branches: tuple[str, ...],
    protect: tuple[str, ...],
    forge: str | None,
    credential: str,
    rotate: bool,
    output: str,
) -> None:
    """Register the repository at URL and its branches."""
    from console import forges
    from pipeline.errors import Invalid

    try:
        found = forges.address(url)
    except Invalid as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE) from error
    kind = forge or forges.HOSTS.get(found.host, "local")
    body = {
        "project": project or session.env.get("ENCLII_PROJECT", "") or name or found.name,
        "repository": found.identity(kind),
        "name": name or found.name,
        "forge": kind,
        "url": found.url,
        "branches": _branches(branches),
        "protected": list(protect),
        "credential": credential,
        "rotate": rotate,
    }
    settle(session, "/v1/links", body, output)
    if kind != "local":
        _tell_webhook(session.api.get(path("webhooks", found.identity(kind))))


def _tell_webhook(webhook: dict[str, Any]) -> None:
    """What the forge asks for in Settings → Webhooks."""
    tell("In the repository's Settings → Webhooks → Add webhook:")
    tell(f"  Payload URL   {webhook['payload_url']}")
    tell(f"  Content type  {webhook['content_type']}")
    tell(f"  Secret        {webhook['secret']}")
    tell(f"  Events        {webhook['events']}")


def _branches(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in given:
        environment, separator, branch = pair.partition("=")
        if not (environment and separator and branch):
            raise click.BadParameter("ENVIRONMENT=BRANCH", param_hint="--branch")
        found[environment] = branch
    return found
