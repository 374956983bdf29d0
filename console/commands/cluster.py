"""``enclii cluster``: the clusters that an installation deploys to, in its ``clusters.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from console.client import USAGE, Failure
from console.commands.options import formatted, show, tell
from console.session import Session
from console.views import table
from gitops.clusters import configured
from pipeline.errors import EncliiError

TOOL_KEYS: Final = {
    "argocd": {"secret_file": "webhook_secret_file"},
    "flux": {"url": "receiver_url", "secret_file": "token_file"},
}
"""What a flag is called in the tool's part of ``clusters.yaml``, where it differs."""


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
@click.option("--url", default="", help="Argo CD's address, or that of Flux's Receiver, which hints are posted to.")
@click.option(
    "--secret-file", type=click.Path(path_type=Path), help="What these hints are signed with: the webhook's secret."
)
@click.option("--repo", default="", help="The config repository's address as the sync tool reaches it.")
@click.pass_obj
def add(
    session: Session, *, name: str, kubeconfig: Path | None, context: str, in_cluster: bool, sync: str,
    pod_security: str, url: str, secret_file: Path | None, repo: str,
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
        item |= _tool(session, name, sync, {"url": url, "secret_file": secret_file, "repo": repo})
        configured.write(file, configured.added(_data(file), name, item, file.parent))
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE) from error
    tell(f"{name} is known. Bind an environment to it in project.yaml (environments.<name>.cluster: {name}),")
    tell(f"or start Enclii with ENCLII_CLUSTER={name} to make it the default.")


def _tool(session: Session, name: str, sync: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The sync tool's part of the entry; without flags, as it stood. Raises Failure, Invalid."""
    said = {key: value for key, value in given.items() if value}
    if sync == "own":
        if said:
            flag = min(said).replace("_", "-")
            advice = "add --sync argocd or --sync flux"
            raise Failure(f"--{flag} is for a sync tool", reason="no_sync_tool", exit_code=USAGE, advice=advice)
        return {}
    known = configured.read(_file(session)).get(name)
    before = dict(getattr(known, sync)) if known else {}
    if (file := said.get("secret_file")) is not None:
        said["secret_file"] = str((session.cwd / file).resolve())
        if not Path(said["secret_file"]).is_file():
            raise Failure(f"{file} is not there", reason="no_secret_file", exit_code=USAGE, advice="--secret-file FILE")
    settings = before | {TOOL_KEYS[sync].get(key, key): value for key, value in said.items()}
    if settings:
        from gitops.clusters.tool_settings import check

        check(sync, settings, cluster=name)
    return {sync: settings} if settings else {}


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
    show({"clusters": rows}, output, lambda _: table(header, [tuple(row.values()) for row in rows]), rows="clusters")


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
