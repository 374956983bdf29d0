"""``enclii bootstrap admission``: what a cluster's admission controller enforces, with what this instance accepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.client import USAGE, Failure
from console.commands.options import tell
from console.session import Session

if TYPE_CHECKING:
    from gitops.wiring.admission import Identity

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(short_help="For Kyverno or policy-controller: let no unsigned image in.")
@click.argument("tool", type=click.Choice(["kyverno", "policy-controller"]))
@click.option("--registry", "registries", multiple=True, help="Registry whose images must be signed; else this one's.")
@click.option("--key", "keys", type=FILE, multiple=True, help="Public key, several times; else all this one accepts.")
@click.option("--identity", default="", help="Who signs without a key: the certificate's subject alternative name.")
@click.option("--issuer", default="", help="The OIDC issuer that vouches for the identity.")
@click.option("--trusted-root", type=FILE, help="The Sigstore's TrustedRoot; else keys/trusted_root.json.")
@click.pass_obj
def admission(
    session: Session,
    *,
    tool: str,
    registries: tuple[str, ...],
    keys: tuple[Path, ...],
    identity: str,
    issuer: str,
    trusted_root: Path | None,
) -> None:
    """Print the policy for TOOL, which refuses images of the registry that nobody accepted has signed."""
    from gitops import emit
    from gitops.wiring.admission import TOOLS, Accepted
    from pipeline.errors import EncliiError
    from pipeline.keys import load_public

    if bool(identity) != bool(issuer):
        raise click.UsageError("--identity and --issuer go together")
    try:
        paths = [session.cwd / one for one in keys] or _own_keys(session, keyless=bool(identity))
        pems = [load_public(path).pem.decode() for path in paths]
        who = _identity(session, identity, issuer, trusted_root) if identity else None
        documents = TOOLS[tool](Accepted(pems, who), registries or (_own_registry(session),))
    except EncliiError as error:
        raise Failure(
            error.message, reason=error.reason, exit_code=USAGE, advice="give --key and --registry"
        ) from error
    click.echo("---\n".join(emit.document(one).decode() for one in documents), nl=False)
    tell("Then: kubectl apply -f -")
    if tool == "policy-controller":
        tell("  kubectl label namespace NAMESPACE policy.sigstore.dev/include=true")


def _own_keys(session: Session, *, keyless: bool) -> list[Path]:
    """The signing key and those that are accepted beside it; the retired ones are in a folder of their own."""
    folder = session.home / "keys"
    return [*([] if keyless else [folder / "signing.pub"]), *sorted((folder / "accepted").glob("*.pub"))]


def _identity(session: Session, subject: str, issuer: str, root: Path | None) -> Identity:
    from gitops.wiring.admission import Identity
    from gitops.wiring.sigstore_root import read
    from pipeline.errors import Invalid

    path = session.cwd / root if root else session.home / "keys/trusted_root.json"
    try:
        return Identity(subject, issuer, read(path.read_bytes()))
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", reason="bad_trusted_root") from None


def _own_registry(session: Session) -> str:
    from console.installation import addresses

    return addresses(session.home).registry
