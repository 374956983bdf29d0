"""``enclii adopt``: take files of yours in the config repository under management, once you saw what will be edited."""

from __future__ import annotations

import click

from console.client import USAGE, Failure
from console.commands import waiting
from console.commands.acting import DECISION_LIMIT, settle
from console.commands.options import confirm, formatted, scoped, show, tell
from console.session import Scope, Session
from console.texts import printable


@click.command()
@click.argument("path", required=False, default="")
@click.option(
    "--from-cluster", "running", default="", metavar="NAMESPACE/DEPLOYMENT", help="What runs, in place of PATH."
)
@click.option("--cluster", default="", metavar="NAME", help="Where that runs (see: enclii cluster list).")
@click.option(
    "--target", "targets", multiple=True, metavar="[FILE:]KIND:PLACE", help="Which of several, as they are listed."
)
@click.option("--dry-run", is_flag=True, help="Show what was found and what would be edited; write nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why; kept in git.")
@scoped
@formatted
@click.pass_obj
def adopt(
    session: Session, *, path: str, running: str, cluster: str, targets: tuple[str, ...], dry_run: bool, yes: bool,
    reason: str, scope: Scope, output: str,
) -> None:  # fmt: skip
    """Take PATH, manifests, a kustomization or Helm values in the config repository, under management.

    No byte of it changes now; each release will change the image where it stands, and nothing else. With
    --from-cluster the manifest is written first, from a Deployment that runs: nothing of it restarts.
    """
    if bool(path) == bool(running) or bool(running) != bool(cluster) or (running and not all(_parts(running))):
        raise click.UsageError("say PATH, or --from-cluster NAMESPACE/DEPLOYMENT with --cluster NAME")
    what = {"running": running, "cluster": cluster} if running else {"path": path}
    body = {**_scope(session, path, scope), **what, "targets": list(targets), "why": reason}
    asked = waiting.ask(session, "/v1/adoptions", {**body, "plan": True})
    (planned,) = waiting.decided(session, asked, session.limit(DECISION_LIMIT), named=False)
    if dry_run:
        show(planned, output, lambda one: "\n".join(map(printable, one["message"].split("\n"))))
        return
    for line in planned["message"].split("\n"):
        tell(printable(line))
    if not yes:
        confirm(session, "Adopt it?")
    from pipeline.names import token

    settle(session, "/v1/adoptions", {**body, "expected": token(planned["message"])}, output)


def _parts(running: str) -> tuple[str, str]:
    namespace, _, name = running.partition("/")
    return namespace, name


def _scope(session: Session, path: str, given: Scope) -> dict[str, str]:
    """Where it goes: what was said, else what a path of project, environment and service says."""
    parts = path.strip("/").split("/")
    if len(parts) == 3 and parts[0] in {one["slug"] for one in session.api.get("/v1/projects")["projects"]}:
        given = Scope(given.project or parts[0], given.service or parts[2], given.environment or parts[1])
    found = session.resolve(given, environment=True)
    if not found.service:
        raise Failure("which service is it?", reason="service_missing", exit_code=USAGE, advice="add -s SERVICE")
    return found.query()
