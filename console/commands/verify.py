"""``enclii verify``: the gate's checks of a release or an image, made now; by the API, or here with a key alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from console.client import FAILED, USAGE, Failure
from console.commands.options import formatted, scoped, show
from console.session import Scope, Session
from console.texts import printable

FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
BUILDER: Final = "https://enclii.dev/builders/one-machine"


@click.command()
@click.argument("what")
@click.option("--key", "keys", type=FILE, multiple=True, help="Verify here, without an Enclii, by this public key.")
@click.option("--identity", default="", help="The same by who signs without a key; with --issuer and --trusted-root.")
@click.option("--issuer", default="", help="The OIDC issuer that vouches for the identity.")
@click.option("--trusted-root", type=FILE, help="The Sigstore's TrustedRoot.")
@click.option("--policy", type=FILE, help="A policy.yaml to ask too; else signature, provenance and SBOM.")
@click.option("--builder", "builders", multiple=True, help=f"Who may have built it.  [default: {BUILDER}]")
@click.option("--source", default="", help="The repository that it must be built from; with --commit.")
@click.option("--commit", default="", help="The commit that it must be built from.")
@click.option("--plain-http", is_flag=True, help="Speak to the registry without TLS.")
@scoped
@formatted
@click.pass_obj
def verify(session: Session, /, *, what: str, scope: Scope, output: str, **here: Any) -> int:
    """Check WHAT, a release such as v41 or an image by digest, as the gate does; exit code 1 when it would not pass.

    With --key or --identity nothing of Enclii is asked: the registry alone, with the account in docker's config.json.
    """
    apart = bool(here["keys"] or here["identity"])
    if not apart and any(here.values()):
        raise click.UsageError("without --key or --identity the checks are Enclii's own; name the public key too")
    answer = _apart(session, what, **here) if apart else session.api.get("/v1/verify", _query(session, what, scope))
    show(answer, output, lines, rows="checks")
    return 0 if answer["passed"] else FAILED


def _apart(session: Session, image: str, **given: Any) -> dict[str, Any]:
    from console import evaluations, stranger
    from pipeline.errors import EncliiError

    for one, other in (("identity", "issuer"), ("identity", "trusted_root"), ("source", "commit")):
        if bool(given[one]) != bool(given[other]):
            raise click.UsageError(f"--{one} and --{other.replace('_', '-')} go together")
    try:
        wanted = stranger.Wanted(image=image, **given | {"builders": given["builders"] or (BUILDER,)})
        return evaluations.told("", image, asyncio.run(stranger.verified(wanted, env=session.env)))
    except EncliiError as error:
        code = USAGE if error.reason in stranger.MISTAKES else FAILED
        raise Failure(error.message, reason=error.reason, exit_code=code) from error


def _query(session: Session, what: str, scope: Scope) -> dict[str, str]:
    if "@" in what:
        return {"image": what, "project": scope.project}
    if what.startswith("v") and what[1:].isdecimal():
        return {"release": f"{session.resolve(scope, service=True).service_id}.{what}"}
    return {"release": what}


def lines(answer: dict[str, Any]) -> str:
    """One line a check, and whether the gate would let the image pass."""
    told = [f"{answer['release_id'] or 'image'}  {answer['image']}"]
    for one in answer["checks"]:
        by = f"  (overridden by {one['override']['by']}: {one['override']['reason']})" if "override" in one else ""
        told.append(f"  {'✓' if one['passed'] else '✗'} {one['rule']:<10}  {one['detail']}{by}")
    told.append("the gate lets it pass" if answer["passed"] else "the gate refuses it")
    return "\n".join(map(printable, told))
