"""What an Application says about one config commit; pure, on the fields that Argo CD publishes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import msgspec

from gitops.clusters.hints import page_of
from gitops.clusters.kube_follow import Name
from gitops.clusters.kube_objects import Object, Shape
from gitops.clusters.sync_state import Includes, Sync
from gitops.clusters.tool_theirs import depth_of

VALUES = 1_000
"""Nearer than any directory: the Application names this very file."""


class Condition(Shape):
    type: str = ""
    message: str = ""


class Applied(Shape):
    """One object of a sync."""

    kind: str = ""
    name: str = ""
    status: str = ""
    hook_phase: str = ""
    message: str = ""


class SyncResult(Shape):
    revision: str = ""
    revisions: list[str] | None = None
    resources: list[Applied] | None = None


class Asked(Shape):
    revision: str = ""
    revisions: list[str] | None = None


class Operation(Shape):
    sync: Asked | None = None


class OperationState(Shape):
    phase: str = ""
    message: str = ""
    operation: Operation | None = None
    sync_result: SyncResult | None = None

    @property
    def commits(self) -> set[str]:
        """The commits that this sync is of: of each source one."""
        done = self.sync_result
        if done is not None and (done.revision or done.revisions):
            return {done.revision, *(done.revisions or ())} - {""}
        asked = self.operation.sync if self.operation else None
        return {asked.revision, *(asked.revisions or ())} - {""} if asked else set()


class Compared(Shape):
    status: str = ""
    revision: str = ""
    revisions: list[str] | None = None

    @property
    def commits(self) -> set[str]:
        """The commits that were compared: of each source one."""
        return {self.revision, *(self.revisions or ())} - {""}


class Managed(Shape):
    """One object that the Application has, as ``status.resources`` lists it."""

    group: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""


class Status(Shape):
    sync: Compared | None = None
    operation_state: OperationState | None = None
    conditions: list[Condition] | None = None
    resources: list[Managed] | None = None


class Automated(Shape):
    enabled: bool = True


class Policy(Shape):
    automated: Automated | None = None


class Chart(Shape):
    value_files: list[str] | None = None


class Origin(Shape):
    repo_url: str = msgspec.field(name="repoURL", default="")
    path: str = ""
    ref: str = ""
    helm: Chart | None = None


class Destination(Shape):
    server: str = ""
    name: str = ""


class Spec(Shape):
    source: Origin | None = None
    sources: list[Origin] | None = None
    destination: Destination | None = None
    sync_policy: Policy | None = None

    @property
    def path(self) -> str:
        return self.source.path if self.source else ""


class Application(Object):
    spec: Spec | None = None
    status: Status | None = None


def sync_of(app: Application | None, includes: Includes) -> Sync:
    """How far Argo CD is with the wanted commit; its own words for whatever is in the way."""
    if app is None:
        return Sync("waiting", "no_unit", "Argo CD has no Application for this directory yet")
    status = app.status or Status()
    compared, operation = status.sync or Compared(), status.operation_state or OperationState()
    about_us = any(map(includes, operation.commits))
    if about_us and operation.phase == "Succeeded":
        return Sync("synced")
    seen = any(map(includes, compared.commits))
    if seen and compared.status == "Synced":
        return Sync("synced")
    if about_us and operation.phase in ("Failed", "Error"):
        return Sync("failed", "sync_failed", told(operation))
    if about_us and (refused := _refused(operation)):
        return Sync("failing", "sync_failed", refused)
    errors = [one.message for one in status.conditions or () if one.type.endswith("Error")]
    if errors and (seen or not compared.commits):
        return Sync("failing", "sync_failed", f"Argo CD: {'; '.join(errors)}")
    return _waiting(app, seen=seen, running=operation.phase == "Running")


def revisions(app: Application | None) -> set[str]:
    """The commits that an Application speaks of."""
    status = app.status if app and app.status else Status()
    compared, operation = status.sync or Compared(), status.operation_state or OperationState()
    return compared.commits | operation.commits


def deployments(app: Application) -> list[Name]:
    """The Deployments that the Application has."""
    found = (app.status.resources if app.status else None) or ()
    return [Name(one.namespace, one.name) for one in found if (one.group, one.kind) == ("apps", "Deployment")]


def nearness(app: Application, file: str, *, address: str, server: str) -> int:
    """How near an Application is to a file of the config repository at ``address``: see ``tool_theirs.Near``.

    It reads the files of its directory and below, and the values that it names wherever they lie. One that applies to
    another cluster than ``server`` is of no interest.
    """
    spec = app.spec or Spec()
    where = spec.destination or Destination()
    if where.server not in ("", server) or where.name not in ("", "in-cluster"):
        return -1
    origins = [*([spec.source] if spec.source else ()), *(spec.sources or ())]
    ours = [one for one in origins if page_of(one.repo_url) == page_of(address)]
    depths = [depth_of(one.path, file) for one in ours if one.path]
    named = {path for one in origins for path in _values(one, ours)}
    return max([*depths, VALUES if file in named else -1])


def _values(origin: Origin, ours: list[Origin]) -> Iterator[str]:
    """The files of values that a source names, from the root of our repository."""
    for path in (origin.helm.value_files if origin.helm else None) or ():
        ref, _, rest = path.partition("/")
        if any(one.ref and ref == f"${one.ref}" for one in ours):
            yield posixpath.normpath(rest)
        elif origin in ours and not path.startswith("$"):
            yield posixpath.normpath(posixpath.join("/", origin.path, path)).lstrip("/")


def told(operation: OperationState) -> str:
    """Each refused object with the API server's own message, else what Argo CD says of the whole."""
    return _refused(operation) or f"Argo CD: {operation.message}"


def _refused(operation: OperationState) -> str:
    found = (operation.sync_result.resources if operation.sync_result else None) or ()
    bad = [one for one in found if one.status == "SyncFailed" or one.hook_phase in ("Failed", "Error")]
    return "; ".join(f"{one.kind} {one.name}: {one.message}" for one in bad)


def _waiting(app: Application, *, seen: bool, running: bool) -> Sync:
    policy = app.spec.sync_policy if app.spec else None
    automated = policy.automated if policy else None
    if seen and not running and (automated is None or not automated.enabled):
        name = app.metadata.name
        return Sync("waiting", "sync_is_manual", f"{name} is synced by hand: argocd app sync {name}")
    doing = "syncs" if running else "has seen the commit" if seen else "has not seen the commit yet"
    return Sync("waiting", "syncing", f"Argo CD {doing}")
