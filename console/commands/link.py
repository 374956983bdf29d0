"""``enclii link``: register a repository and its branches, and say what to paste into GitHub for its webhook.

A hook's name comes from the repository and its secret from the state folder's root, so linking twice is linking once.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import click

from console.client import USAGE, Failure
from console.commands.acting import settle
from console.commands.options import formatted, tell
from console.session import Session

GITHUB: Final = "github.com"
ROOTS: Final = "webhook-secrets"
EVENTS: Final = "push"


@click.command()
@click.argument("url")
@click.option("-p", "--project", default="", help="Project; else ENCLII_PROJECT, else the repository's name.")
@click.option("--name", default="", help="Name of the repository in Enclii; else its last part.")
@click.option(
    "--branch", "branches", multiple=True, metavar="ENVIRONMENT=BRANCH", help="For a new project: production=main."
)
@click.option("--protect", multiple=True, metavar="ENVIRONMENT", help="Refuse deployments out of order there.")
@click.option("--forge", type=click.Choice(["github", "local"]), default=None, help="Else told by the host.")
@click.option("--credential", default="", metavar="NAME", help="File of a token or deploy key, of a private one.")
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
    output: str,
) -> None:
    """Register the repository at URL and its branches."""
    address = urlsplit(url)
    if "://" not in url or address.password or not address.hostname:
        raise Failure("a full address is needed, without a password in it", reason="bad_url", exit_code=USAGE)
    location = address.path.strip("/").removesuffix(".git")
    short = name or location.rpartition("/")[2].lower()
    kind = forge or ("github" if address.hostname == GITHUB else "local")
    hook = _hook(location) if kind == "github" else ""
    body = {
        "project": project or session.env.get("ENCLII_PROJECT", "") or short,
        "repository": f"{kind}:{location}",
        "name": short,
        "forge": kind,
        "url": url,
        "branches": _branches(branches),
        "protected": list(protect),
        "hook": hook,
        "credential": credential,
    }
    settle(session, "/v1/links", body, output)
    if hook:
        _tell_webhook(session, hook)


def _hook(location: str) -> str:
    from pipeline.names import token

    return token("hook", location.lower())[:16]


def _tell_webhook(session: Session, hook: str) -> None:
    """What GitHub asks for in Settings → Webhooks; the secret only where its root can be read."""
    tell("In the repository's Settings → Webhooks → Add webhook:")
    tell(f"  Payload URL   {session.receiver()}/hooks/github/{hook}")
    tell("  Content type  application/json")
    tell(f"  Secret        {_secret(session, hook)}")
    tell(f"  Events        {EVENTS}")


def _secret(session: Session, hook: str) -> str:
    from pipeline.hooks import hook_secret

    try:
        roots = (session.home / "secrets" / ROOTS).read_text().strip()
    except OSError:
        return "(run this where the state folder is, to see it)"
    return hook_secret(roots.split(",")[0].strip(), hook)


def _branches(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in given:
        environment, separator, branch = pair.partition("=")
        if not (environment and separator and branch):
            raise click.BadParameter("ENVIRONMENT=BRANCH", param_hint="--branch")
        found[environment] = branch
    return found
