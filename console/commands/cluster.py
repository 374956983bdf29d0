"""``enclii cluster``: the clusters that an installation deploys to, in its ``clusters.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from console.client import USAGE, Failure
from console.commands.options import formatted, show, tell
from console.session import Session
from console.views import table
from gitops.clusters import configured
from pipeline.errors import EncliiError


@click.group()
def cluster() -> None:
    """The clusters that services run on; podman is built in."""


@cluster.command()
@click.argument("name")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="File with the cluster's credentials.")
@click.option("--context", default="", help="Context in it; else its current one.")
@click.option("--in-cluster", is_flag=True, help="Enclii runs on that cluster: take its own service account.")
@click.option("--sync", type=click.Choice(configured.SYNCS), default="own", show_default=True, help="What applies.")
@click.option(
    "--pod-security", type=click.Choice(configured.LEVELS), default="restricted", show_default=True,
    help="Pod Security Standard of the namespaces that Enclii makes.",
)  # fmt: skip
@click.pass_obj
def add(
    session: Session, *, name: str, kubeconfig: Path | None, context: str, in_cluster: bool, sync: str,
    pod_security: str,
) -> None:  # fmt: skip
    """Make NAME known, or change what is known of it."""
    file = _file(session)
    if kubeconfig is not None and not (session.cwd / kubeconfig).is_file():
        raise Failure(f"{kubeconfig} is not there", reason="no_kubeconfig", exit_code=USAGE, advice="--kubeconfig FILE")
    item: dict[str, Any] = {"kind": "kubernetes"}
    item |= {"kubeconfig": str((session.cwd / kubeconfig).resolve())} if kubeconfig else {"in_cluster": in_cluster}
    item |= {"context": context} if context else {}
    item |= {"sync": sync, "pod_security": pod_security}
    try:
        configured.check_name(name)
        configured.write(file, configured.added(_data(file), name, item, file.parent))
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE) from error
    tell(f"{name} is known. Bind an environment to it in project.yaml (environments.<name>.cluster: {name}),")
    tell(f"or start Enclii with ENCLII_CLUSTER={name} to make it the default.")


@cluster.command("list")
@formatted
@click.pass_obj
def list_(session: Session, *, output: str) -> None:
    """Every cluster, how it is reached and what applies there."""
    try:
        found = configured.read(_file(session))
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE) from error
    rows = [{"name": configured.PODMAN, "kind": "podman", "access": "this machine", "sync": "own"}]
    rows += [
        {
            "name": one.name,
            "kind": "kubernetes",
            "access": "in cluster"
            if one.in_cluster
            else f"{one.kubeconfig}{f' ({one.context})' if one.context else ''}",
            "sync": one.sync,
        }
        for one in found.values()
    ]
    header = ("NAME", "KIND", "ACCESS", "SYNC")
    show({"clusters": rows}, output, lambda _: table(header, [tuple(row.values()) for row in rows]))


@cluster.command()
@click.argument("name")
@click.pass_obj
def remove(session: Session, *, name: str) -> None:
    """Forget NAME; what runs there goes on running."""
    file = _file(session)
    try:
        configured.write(file, configured.removed(_data(file), name, file.parent))
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE) from error
    tell(f"{name} is forgotten; what runs there goes on running.")


def _file(session: Session) -> Path:
    named = session.env.get("ENCLII_CLUSTERS", "clusters.yaml")
    return session.home / Path(named).expanduser()


def _data(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""
