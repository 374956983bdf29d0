"""``enclii caddyfile``: a static configuration for Caddy in front of the front door, with TLS where it was asked for.

It changes only when domains do: a deployment moves what is behind the door, never the door, so Caddy is not reloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from console.session import Session

HEADER = "# Written by `enclii caddyfile`: write it again after domains in project.yaml have changed."


def render(sites: Sequence[dict[str, Any]]) -> str:
    """The Caddyfile; a service that never ran has no address yet and is named in a comment."""
    return "\n\n".join([HEADER, *map(_site, sites)]) + "\n"


def _site(site: dict[str, Any]) -> str:
    place = f"{site['project']}/{site['environment']} {site['service']}"
    if not site["address"]:
        return f"# {place} has no address yet."
    # Caddy fetches a certificate for a bare name by itself; a name with http:// stays plain.
    names = ", ".join(host if site["tls"] else f"http://{host}" for host in site["hosts"])
    door = urlsplit(site["address"])
    # The door knows its own names. Its name is not asked of DNS: it may end in .localhost.
    upstream = f"127.0.0.1:{door.port or 80}"
    return f"# {place}\n{names} {{\n\treverse_proxy {upstream} {{\n\t\theader_up Host {door.hostname}\n\t}}\n}}"


@click.command()
@click.pass_obj
def caddyfile(session: Session) -> None:
    """Print a Caddyfile for the domains in project.yaml, to run Caddy before the front door."""
    click.echo(render(session.api.get("/v1/domains")["domains"]), nl=False)
