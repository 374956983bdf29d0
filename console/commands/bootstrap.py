"""``enclii bootstrap``: the documents that connect a cluster's own sync tool with the config repository.

They are written into a working copy of that repository, below ``clusters/<name>/``, so that they have a history too.
No secret is in them: both tools find the repository's credentials in a Secret that a person makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from console.client import REFUSED, USAGE, Failure
from console.commands.admission import admission
from console.commands.options import tell
from console.session import Session

if TYPE_CHECKING:
    from gitops.wiring import Document, Source
    from gitops.wiring.checkout import Found

F = TypeVar("F", bound=Callable[..., Any])
GIT_LIMIT: Final = 5.0
PASSWORD: Final = "--from-literal=username=enclii --from-file=password=FILE"  # noqa: S105 - the name of a file
SCHEMES: Final = ("http://", "https://", "ssh://")


@click.group(context_settings={"max_content_width": 100})
def bootstrap() -> None:
    """Write what a cluster's own tools need: Argo CD or Flux to sync, an admission controller to refuse."""


bootstrap.add_command(admission)


def _shared(function: F) -> F:
    options = (
        click.argument("name"),
        click.option(
            "-C", "--folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path(),
            help="Working copy of the config repository; else this folder.",
        ),
        click.option("--repo", default="", help="Its address as the sync tool reaches it; else the copy's origin."),
        click.option("--branch", default="main", show_default=True, help="Its branch."),
        click.option("--default", is_flag=True, help="Environments that name no cluster are meant too."),
        click.option("--render", is_flag=True, help="Print the documents and write nothing."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@bootstrap.command(short_help="For Argo CD: an AppProject and Applications.")
@_shared
@click.option("--namespace", default="argocd", show_default=True, help="Argo CD's own.")
@click.option("--project", default="enclii", show_default=True, help="Name of the AppProject.")
@click.option("--server", default="https://kubernetes.default.svc", show_default=True, help="The cluster's address.")
@click.option("--applicationset", is_flag=True, help="One ApplicationSet in place of an Application a service.")
@click.pass_obj
def argocd(
    session: Session, *, name: str, folder: Path, repo: str, branch: str, default: bool, render: bool,
    namespace: str, project: str, server: str, applicationset: bool,
) -> None:  # fmt: skip
    """An AppProject, and an Application for each service of the cluster NAME."""
    from gitops.wiring import argocd as documents

    folder = session.cwd / folder
    site = documents.Site(namespace, project, server)
    source, found = _source(folder, repo, branch), _found(folder, name, default=default)
    if applicationset:
        services = [documents.application_set(found.units, found.elsewhere, site, source)]
    else:
        services = [documents.application(unit, site, source) for unit in found.units]
    files = {
        "argocd-project.yaml": [documents.project(site, source)],
        "argocd-services.yaml": [*_namespaces(found), *services],
    }
    _deliver(folder / "clusters" / name, files, render=render)
    # Sent with the first request: Argo CD then needs no second one, and no helper program, to log in.
    login = f"--from-literal=type=git --from-literal=url={source.url} --from-literal=forceHttpBasicAuth=true"
    _tell_next(folder, name, render=render)
    tell(f"  kubectl -n {namespace} create secret generic enclii-config {login} {PASSWORD}")
    tell(f"  kubectl -n {namespace} label secret enclii-config argocd.argoproj.io/secret-type=repository")
    _refuse_broken(found)


@bootstrap.command(short_help="For Flux: a GitRepository, a Receiver and Kustomizations.")
@_shared
@click.option("--namespace", default="flux-system", show_default=True, help="Flux's own.")
@click.option("--anonymous", is_flag=True, help="The repository can be fetched without credentials.")
@click.pass_obj
def flux(
    session: Session, *, name: str, folder: Path, repo: str, branch: str, default: bool, render: bool,
    namespace: str, anonymous: bool,
) -> None:  # fmt: skip
    """A GitRepository, a Receiver, and a Kustomization for each service of the cluster NAME."""
    from gitops.wiring import flux as documents

    folder = session.cwd / folder
    site = documents.Site(namespace, credentials="" if anonymous else "enclii-config")
    source, found = _source(folder, repo, branch), _found(folder, name, default=default)
    files = {
        "flux-source.yaml": [documents.git_repository(site, source), documents.receiver(site)],
        "flux-services.yaml": [*_namespaces(found), *(documents.kustomization(unit, site) for unit in found.units)],
    }
    _deliver(folder / "clusters" / name, files, render=render)
    _tell_next(folder, name, render=render)
    if not anonymous:
        tell(f"  kubectl -n {namespace} create secret generic {site.credentials} {PASSWORD}")
    tell(f"  kubectl -n {namespace} create secret generic {site.token} --from-file=token=FILE")
    _refuse_broken(found)


def _source(folder: Path, repo: str, branch: str) -> Source:
    from gitops.wiring import Source, bare_address

    url = bare_address(repo or _origin(folder))
    if not url.startswith(SCHEMES):
        raise Failure(
            f"{folder} is no working copy with such an origin" if not repo else f"{repo} is no such address",
            reason="no_config_repository", exit_code=USAGE,
            advice="add --repo, the config repository's http, https or ssh address as the sync tool reaches it",
        )  # fmt: skip
    return Source(url, branch)


def _origin(folder: Path) -> str:
    """The address that the working copy was cloned from; "" when it has none."""
    import asyncio

    from pipeline import process
    from pipeline.errors import EncliiError

    argv = ("git", "-C", str(folder), "config", "--get", "remote.origin.url")
    try:
        done = asyncio.run(process.run(argv, timeout=GIT_LIMIT))
    except EncliiError:
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def _found(folder: Path, name: str, *, default: bool) -> Found:
    from gitops.wiring import checkout
    from pipeline import names
    from pipeline.errors import EncliiError

    try:
        return checkout.read(folder, cluster=names.name(name, what="cluster"), default=default)
    except EncliiError as error:
        raise Failure(error.message, reason=error.reason, exit_code=USAGE) from error


def _refuse_broken(found: Found) -> None:
    """All others are written; the exit code keeps a script from applying less than there was before. Raises Failure."""
    if found.broken:
        raise Failure(
            "\n".join(f"left out: {one}" for one in found.broken), reason="bad_project_file", exit_code=REFUSED,
            advice="mend the file, then run this again; all other projects are written",
        )  # fmt: skip


def _namespaces(found: Found) -> list[Document]:
    from gitops.wiring import namespace

    return [namespace(name) for name in dict.fromkeys(unit.namespace for unit in found.units)]


def _deliver(folder: Path, files: Mapping[str, Sequence[Document]], *, render: bool) -> None:
    """Print the documents, or write them; a file that would be empty is removed."""
    from gitops import emit

    texts = {name: b"---\n".join(emit.document(one) for one in documents) for name, documents in files.items()}
    if render:
        click.echo(b"---\n".join(text for text in texts.values() if text), nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if not text:
            (folder / name).unlink(missing_ok=True)
            continue
        (folder / name).write_bytes(text)
        click.echo(folder / name)


def _tell_next(folder: Path, name: str, *, render: bool) -> None:
    tell("Then:" if render else f"Commit {folder / 'clusters' / name}, and then:")
    tell(f"  kubectl apply -f {'-' if render else folder / 'clusters' / name}")
