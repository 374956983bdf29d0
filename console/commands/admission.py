"""``enclii bootstrap admission``: what a cluster's admission controller enforces, with this instance's key."""

from __future__ import annotations

from pathlib import Path

import click

from console.client import USAGE, Failure
from console.commands.options import tell
from console.session import Session


@click.command(short_help="For Kyverno or policy-controller: let no unsigned image in.")
@click.argument("tool", type=click.Choice(["kyverno", "policy-controller"]))
@click.option("--registry", "registries", multiple=True, help="Registry whose images must be signed; else this one's.")
@click.option(
    "--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Public key; else this instance's."
)
@click.pass_obj
def admission(session: Session, *, tool: str, registries: tuple[str, ...], key: Path | None) -> None:
    """Print the policy for TOOL, which refuses images of the registry that Enclii did not sign."""
    from gitops import emit
    from gitops.wiring.admission import TOOLS
    from pipeline.errors import EncliiError
    from pipeline.keys import load_public

    try:
        public = load_public(session.cwd / key if key else session.home / "keys/signing.pub")
        document = TOOLS[tool](public.pem.decode(), registries or (_own_registry(session),))
    except EncliiError as error:
        raise Failure(
            error.message, reason=error.reason, exit_code=USAGE, advice="give --key and --registry"
        ) from error
    click.echo(emit.document(document).decode(), nl=False)
    tell("Then: kubectl apply -f -")
    if tool == "policy-controller":
        tell("  kubectl label namespace NAMESPACE policy.sigstore.dev/include=true")


def _own_registry(session: Session) -> str:
    from console.installation import addresses

    return addresses(session.home).registry
