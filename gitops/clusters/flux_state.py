"""What a Kustomization and its GitRepository say about one config commit; pure, on the fields that Flux publishes."""

from __future__ import annotations

import msgspec

from gitops.clusters.kube_follow import Name
from gitops.clusters.kube_objects import Condition, Object, Shape, condition
from gitops.clusters.sync_state import Includes, Sync
from gitops.clusters.tool_theirs import depth_of


class Entry(Shape):
    """One object: ``<namespace>_<name>_<group>_<kind>``."""

    id: str = ""


class Inventory(Shape):
    entries: list[Entry] | None = None


class KustomizationStatus(Shape):
    observed_generation: int = 0
    conditions: list[Condition] | None = None
    last_applied_revision: str = ""
    last_attempted_revision: str = ""
    inventory: Inventory | None = None


class Reference(Shape):
    kind: str = ""


class KustomizationSpec(Shape):
    path: str = ""
    source_ref: Reference | None = None


class Kustomization(Object):
    spec: KustomizationSpec | None = None
    status: KustomizationStatus | None = None


class SourceStatus(Shape):
    conditions: list[Condition] | None = None


class GitRepository(Object):
    status: SourceStatus | None = None


class ReceiverStatus(Shape):
    webhook_path: str = ""


class Receiver(Object):
    status: ReceiverStatus | None = None


def sync_of(unit: Kustomization | None, source: GitRepository | None, includes: Includes) -> Sync:
    """How far Flux is with the wanted commit; its own words for whatever is in the way."""
    if unit is None:
        return Sync("waiting", "no_unit", "Flux has no Kustomization for this directory yet")
    status = unit.status or KustomizationStatus()
    applied, attempted = commit_of(status.last_applied_revision), commit_of(status.last_attempted_revision)
    ready = condition(status.conditions or [], "Ready")
    if applied and includes(applied) and (ready is None or ready.status != "False"):
        return Sync("synced")
    if ready is not None and ready.status == "False" and (not attempted or includes(attempted)):
        final = condition(status.conditions or [], "Stalled")
        stalled = final is not None and final.status == "True"
        return Sync("failed" if stalled else "failing", "sync_failed", f"Flux: {ready.reason}: {ready.message}")
    if applied and includes(applied):
        return Sync("synced")  # what is wrong now came with a later commit, or passes
    fetched = condition(source.status.conditions or [], "Ready") if source and source.status else None
    if fetched is not None and fetched.status == "False":
        return Sync("failing", "sync_failed", f"Flux: {fetched.reason}: {fetched.message}")
    return Sync("waiting", "syncing", "Flux has not applied the commit yet")


def revisions(unit: Kustomization | None) -> set[str]:
    """The commits that a Kustomization speaks of."""
    status = unit.status if unit and unit.status else KustomizationStatus()
    return {commit_of(status.last_applied_revision), commit_of(status.last_attempted_revision)} - {""}


def nearness(unit: Kustomization, file: str) -> int:
    """How near a Kustomization is to a file of the config repository: see ``tool_theirs.Near``."""
    spec = unit.spec or KustomizationSpec()
    if spec.source_ref is not None and spec.source_ref.kind not in ("", "GitRepository"):
        return -1
    return depth_of(spec.path, file)


def applied(unit: Kustomization, group: str, kind: str) -> list[Name]:
    """The objects of a kind that a Kustomization has applied."""
    inventory = unit.status.inventory if unit.status else None
    found = [one.id.split("_") for one in (inventory.entries if inventory else None) or ()]
    return [Name(one[0], one[1]) for one in found if len(one) == 4 and one[2:] == [group, kind]]


def commit_of(revision: str) -> str:
    """The commit of ``main@sha1:…``."""
    return revision.rpartition(":")[2]


class _List(Shape):
    items: list[Object] | None = None


def listed(data: bytes) -> list[Name]:
    """The names in a list of objects."""
    return [Name(*one.metadata.key) for one in msgspec.json.decode(data, type=_List).items or ()]
