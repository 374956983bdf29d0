"""``enclii verify``: the gate's checks of a release or an image, made now."""

from __future__ import annotations

from typing import Any

import click

from console.client import FAILED
from console.commands.options import formatted, scoped, show
from console.session import Scope, Session
from console.texts import printable


@click.command()
@click.argument("what")
@scoped
@formatted
@click.pass_obj
def verify(session: Session, *, what: str, scope: Scope, output: str) -> int:
    """Check WHAT, a release such as v41 or an image by digest, as the gate does; exit code 1 when it would not pass."""
    answer = session.api.get("/v1/verify", _query(session, what, scope))
    show(answer, output, lines, rows="checks")
    return 0 if answer["passed"] else FAILED


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
