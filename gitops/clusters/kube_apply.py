"""Server-side apply of one service: in waves, by inventory, so that what git no longer has is removed and nothing else.

Unchanged objects cost no request: their hash stands in the inventory, and the watches say whether anybody touched them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gitops.clusters import ServiceRef, Wanted, kube_diff, kube_plan
from gitops.clusters.kube_api import APPLY, Api
from gitops.clusters.kube_errors import FieldConflict
from gitops.clusters.kube_kinds import JOBS, KNOWN, NAMESPACE, WAVES, Kind, Kinds, wave
from gitops.clusters.kube_objects import MANAGER, PREFIX, ConfigMap, Object
from gitops.clusters.kube_plan import Entry, Inventory, Item
from pipeline.errors import Conflict, Invalid, NotFound, Refused

log = logging.getLogger(__name__)

CONFIG_MAP = KNOWN["v1", "ConfigMap"]
Look = Callable[[Kind, str, str], Awaitable[Object | None]]
"""The metadata of an object as the cluster has it now: kind, namespace, name."""


@dataclass(frozen=True)
class Drift:
    """One object that is not as it was applied."""

    entry: Entry
    what: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.what}"


class Applier:
    """Applies, prunes and compares; ``look`` answers from the watches, ``wrote`` tells them of a write."""

    def __init__(
        self, api: Api, kinds: Kinds, *, instance: str, pod_security: str, look: Look,
        inventory: Callable[[ServiceRef], Inventory | None], wrote: Callable[[Kind, bytes], None],
        jobs: Callable[[Wanted, Item], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._api = api
        self._kinds = kinds
        self._instance = instance
        self._pod_security = pod_security
        self._look = look
        self._inventory = inventory
        self._wrote = wrote
        self._jobs = jobs

    async def items(self, wanted: Wanted) -> list[Item]:
        """What shall be, in the order of the documents. Raises Invalid."""
        kube_plan.the_deployment(wanted)
        found = []
        for document in wanted.documents:
            kind = await self._kinds.of(str(document.get("apiVersion") or ""), str(document.get("kind") or ""))
            found.append(kube_plan.prepared(wanted, document, kind, instance=self._instance))
        return found

    async def apply(self, wanted: Wanted) -> None:
        """Make it so. Raises Invalid, Refused, FieldConflict, Unavailable; may be called again after any of them."""
        items = await self.items(wanted)
        old = self._inventory(wanted.ref) or Inventory(wanted.ref, kube_plan.namespace_of(wanted), "", ())
        if old.namespace != kube_plan.namespace_of(wanted):
            await self.remove(old)
            old = Inventory(wanted.ref, kube_plan.namespace_of(wanted), "", ())
        old = await self._trusted(wanted, items, old)
        await self._announce(wanted, old, items)
        entries = {entry.key: entry for entry in old.entries}
        for number in range(WAVES):
            now = [item for item in items if item.wave == number]
            for entry in await asyncio.gather(*(self._one(wanted, item, old.entry(item.key)) for item in now)):
                entries[entry.key] = entry
            await asyncio.gather(*(self._jobs(wanted, item) for item in now if _is_due(item, old)))
        keep = {item.key for item in items}
        await self._prune(old, [entry for entry in old.entries if entry.key not in keep])
        kept = tuple(entry for key, entry in entries.items() if key in keep)
        done = Inventory(wanted.ref, old.namespace, wanted.deployment, kept)
        if done != old:
            await self._record(done)

    async def drift(self, inventory: Inventory) -> list[Drift]:
        """What somebody else changed or deleted since it was applied."""
        found = []
        for entry in inventory.entries:
            if not entry.owned or entry.kind in JOBS:
                continue
            kind = await self._kinds.of(entry.api, entry.kind)
            seen = await self._look(kind, inventory.namespace, entry.name)
            if seen is None:
                found.append(Drift(entry, "was deleted"))
            elif seen.metadata.owned != entry.owned:
                found.append(Drift(entry, f"was changed by {seen.metadata.changed_by or 'somebody'}"))
        return found

    async def remove(self, inventory: Inventory) -> None:
        """Delete what the inventory lists and then itself; the last to be applied goes first."""
        await self._prune(inventory, inventory.entries)
        name = kube_plan.INVENTORY_NAME + inventory.ref.service
        await self._delete(CONFIG_MAP, inventory.namespace, name)

    async def difference(self, wanted: Wanted) -> tuple[str, ...]:
        """What an apply would change, in lines; nothing is changed. Raises as ``apply`` does."""
        items, namespace = await self.items(wanted), kube_plan.namespace_of(wanted)
        told: list[str] = []
        for item in items:
            try:
                now = msgspec.json.decode(
                    await self._api.get(item.kind.object(namespace, item.name), doing=f"look at {item}")
                )
            except NotFound:
                told += kube_diff.changes(str(item), None, item.document)
                continue
            then = msgspec.json.decode(await self._patch(item, namespace, force=True, dry_run=True))
            told += kube_diff.changes(str(item), now, then)
        old, keep = self._inventory(wanted.ref), {item.key for item in items}
        told += [f"- {entry}" for entry in (old.entries if old else ()) if entry.key not in keep]
        return tuple(told)

    async def _trusted(self, wanted: Wanted, items: list[Item], old: Inventory) -> Inventory:
        """The inventory, without its hashes when an apply of another deployment reached the cluster after it.

        A request that was cut off here, or another process, may still be carried out there, over the same fields.
        """
        if old.deployment != wanted.deployment:
            return old
        for item in items:
            seen = await self._look(item.kind, old.namespace, item.name) if item.kind.kind == "Deployment" else None
            if seen is not None and seen.metadata.annotations.get(PREFIX + "deployment") != wanted.deployment:
                again = (one if one.kind in JOBS else replace(one, hash="") for one in old.entries)
                return replace(old, entries=tuple(again))
        return old

    async def _announce(self, wanted: Wanted, old: Inventory, items: list[Item]) -> None:
        """Write down what will be made before it is made: a crash leaves nothing that nobody knows of."""
        known = {entry.key for entry in old.entries}
        fresh = [Entry(*item.key) for item in items if item.key not in known]
        if not fresh:
            return
        announced = replace(old, entries=(*old.entries, *fresh))
        try:
            await self._record(announced)
        except NotFound:
            await self.make_namespace(old.namespace)
            await self._record(announced)

    async def make_namespace(self, name: str) -> None:
        levels = {f"pod-security.kubernetes.io/{mode}": self._pod_security for mode in ("enforce", "warn")}
        document = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {PREFIX + "instance": self._instance, **levels}},
        }
        with contextlib.suppress(Conflict):  # somebody was faster, and what people say of theirs stays
            query = {"fieldManager": MANAGER}
            await self._api.call("POST", NAMESPACE.collection(), query, document, doing=f"make the namespace {name}")

    async def _one(self, wanted: Wanted, item: Item, entry: Entry | None) -> Entry:
        namespace = kube_plan.namespace_of(wanted)
        if entry and item.kind.kind in JOBS and entry.hash == item.hash:
            return entry
        seen = await self._look(item.kind, namespace, item.name)
        if entry and entry.hash == item.hash and seen and seen.metadata.owned == entry.owned:
            return entry
        seen = seen or await self._ask(item.kind, namespace, item.name)
        if seen is not None:
            self._check_ours(wanted, item, seen)
        drifted = bool(entry and entry.owned and seen and seen.metadata.owned != entry.owned)
        if entry and drifted and wanted.drift == "keep" and entry.hash == item.hash:
            return entry
        data = await self._patched(wanted, item, namespace)
        self._wrote(item.kind, data)
        made = msgspec.json.decode(data, type=Object)
        made.metadata.stripped()
        return Entry(*item.key, item.hash, made.metadata.owned)

    async def _ask(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The watches see what carries our label; what is there without it is asked for by name."""
        try:
            data = await self._api.get(kind.object(namespace, name), doing=f"look at {kind.kind} {name}")
        except NotFound:
            return None
        found = msgspec.json.decode(data, type=Object)
        found.metadata.stripped()
        return found

    async def _patched(self, wanted: Wanted, item: Item, namespace: str) -> bytes:
        try:
            return await self._patch(item, namespace, force=False)
        except FieldConflict as error:
            if wanted.drift == "keep":
                raise
            log.warning("%s: taking back what others changed: %s", wanted.ref, error)
            return await self._patch(item, namespace, force=True)

    async def _patch(self, item: Item, namespace: str, *, force: bool, dry_run: bool = False) -> bytes:
        query = {"fieldManager": MANAGER, "force": "true" if force else "false"}
        try:
            return await self._api.call(
                "PATCH", item.kind.object(namespace, item.name), {**query, **({"dryRun": "All"} if dry_run else {})},
                item.document, doing=f"apply {item} in {namespace}", content=APPLY,
            )  # fmt: skip
        except NotFound as error:
            if "could not find the requested resource" in error.message:
                raise Invalid(
                    f"the cluster has no kind {item.kind.kind} in {item.kind.api}", reason="crd_missing"
                ) from error
            raise

    def _check_ours(self, wanted: Wanted, item: Item, seen: Object) -> None:
        """Never take what another service or another installation has applied."""
        found = seen.metadata.labels
        theirs = found.get(PREFIX + "instance")
        other = kube_plan.ref_of(found)
        if (theirs and theirs != self._instance) or (theirs and other and other != wanted.ref):
            owner = f"{other} of the installation {theirs!r}"
            raise Refused(f"{item} in {seen.metadata.namespace} belongs to {owner}", reason="not_ours")
        if not theirs and PREFIX + "service" not in found and not wanted.adopted:
            raise Refused(
                f"{item} in {seen.metadata.namespace} is there already and not Enclii's (last written by"
                f" {seen.metadata.changed_by or 'somebody'}): take it over with `enclii adopt`, or rename it",
                reason="not_ours",
            )

    async def _prune(self, inventory: Inventory, entries: Iterable[Entry]) -> None:
        for entry in sorted(entries, key=lambda one: wave(one.kind), reverse=True):
            try:
                kind = await self._kinds.of(entry.api, entry.kind)
            except Invalid:
                continue  # its CRD is gone, and with it every object
            seen = await self._ask(kind, inventory.namespace, entry.name)
            if seen is None:
                continue
            if not self._is_of(inventory.ref, seen):  # announced and refused, or relabelled since
                log.warning("%s in %s does not carry our labels: left alone", entry, inventory.namespace)
                continue
            await self._delete(kind, inventory.namespace, entry.name, uid=seen.metadata.uid)

    def _is_of(self, ref: ServiceRef, seen: Object) -> bool:
        found = seen.metadata.labels
        return found.get(PREFIX + "instance") == self._instance and kube_plan.ref_of(found) == ref

    async def _delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}  # the one that was looked at, not one of that name made since
        try:
            await self._api.call("DELETE", kind.object(namespace, name), None, body, doing=f"delete {kind.kind} {name}")
        except NotFound:
            return

    async def _record(self, inventory: Inventory) -> None:
        document = kube_plan.inventory_document(inventory, self._instance)
        path = CONFIG_MAP.object(inventory.namespace, document["metadata"]["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        data = await self._api.call("PATCH", path, query, document, doing=f"record {inventory.ref}", content=APPLY)
        self._wrote(CONFIG_MAP, data)


def _is_due(item: Item, old: Inventory) -> bool:
    """A job that is in the inventory with its hash has ended well; it is not run again when somebody deletes it."""
    entry = old.entry(item.key)
    return item.kind.kind in JOBS and (entry is None or entry.hash != item.hash)


def inventory_of(found: ConfigMap) -> Inventory | None:
    """The inventory that a ConfigMap holds."""
    ref = kube_plan.ref_of(found.metadata.labels)
    if ref is None:
        return None
    try:
        rows: Any = msgspec.json.decode(found.data.get("objects", "[]"))
    except msgspec.MsgspecError:
        rows = []
    return Inventory(ref, found.metadata.namespace, found.data.get("deployment", ""), tuple(kube_plan.entries_of(rows)))
