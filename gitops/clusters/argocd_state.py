"""What an Application says about one config commit; pure, on the fields that Argo CD publishes."""

from __future__ import annotations

import msgspec

from gitops.clusters.kube_objects import Object, Shape
from gitops.clusters.sync_state import Includes, Sync


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
    resources: list[Applied] | None = None


class Asked(Shape):
    revision: str = ""


class Operation(Shape):
    sync: Asked | None = None


class OperationState(Shape):
    phase: str = ""
    message: str = ""
    operation: Operation | None = None
    sync_result: SyncResult | None = None

    @property
    def revision(self) -> str:
        """The commit that this sync is of."""
        if self.sync_result is not None and self.sync_result.revision:
            return self.sync_result.revision
        asked = self.operation.sync if self.operation else None
        return asked.revision if asked else ""


class Compared(Shape):
    status: str = ""
    revision: str = ""


class Status(Shape):
    sync: Compared | None = None
    operation_state: OperationState | None = None
    conditions: list[Condition] | None = None


class Automated(Shape):
    enabled: bool = True


class Policy(Shape):
    automated: Automated | None = None


class Origin(Shape):
    repo_url: str = msgspec.field(name="repoURL", default="")
    path: str = ""


class Spec(Shape):
    source: Origin | None = None
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
    about_us = bool(operation.revision) and includes(operation.revision)
    if about_us and operation.phase == "Succeeded":
        return Sync("synced")
    seen = bool(compared.revision) and includes(compared.revision)
    if seen and compared.status == "Synced":
        return Sync("synced")
    if about_us and operation.phase in ("Failed", "Error"):
        return Sync("failed", "sync_failed", told(operation))
    if about_us and (refused := _refused(operation)):
        return Sync("failing", "sync_failed", refused)
    errors = [one.message for one in status.conditions or () if one.type.endswith("Error")]
    if errors and (seen or not compared.revision):
        return Sync("failing", "sync_failed", f"Argo CD: {'; '.join(errors)}")
    return _waiting(app, seen=seen, running=operation.phase == "Running")


def revisions(app: Application | None) -> set[str]:
    """The commits that an Application speaks of."""
    status = app.status if app and app.status else Status()
    compared, operation = status.sync or Compared(), status.operation_state or OperationState()
    return {compared.revision, operation.revision} - {""}


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
