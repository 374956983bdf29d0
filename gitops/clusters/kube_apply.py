"""Server-side apply of one service: in waves, by inventory, so that what git no longer has is removed and nothing else.

Unchanged objects cost no request: their hash stands in the inventory, and the watches say whether anybody touched them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from gitops.clusters import ServiceRef, Wanted, kube_claims, kube_diff, kube_namespaces, kube_plan
from gitops.clusters.kube_api import APPLY, Api
from gitops.clusters.kube_errors import FieldConflict
from gitops.clusters.kube_kinds import JOBS, KNOWN, WAVES, Kind, Kinds, wave
from gitops.clusters.kube_lost import found_again
from gitops.clusters.kube_objects import MANAGER, PREFIX, ConfigMap, Object
from gitops.clusters.kube_plan import INVENTORY_NAME, Entry, Inventory, Item
from pipeline.errors import Invalid, NotFound, Refused

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
        there: Callable[[ServiceRef], Object | None],
        jobs: Callable[[Wanted, Item], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._api = api
        self._kinds = kinds
        self._instance = instance
        self._pod_security = pod_security
        self._look = look
        self._inventory = inventory
        self._wrote = wrote
        self._there = there
        self._jobs = jobs

    async def items(self, wanted: Wanted, *, marked: bool = True) -> list[Item]:
        """What shall be, in the order of the documents; ``marked`` as Enclii's own. Raises Invalid."""
        kube_plan.plain_ones(wanted)
        kube_plan.the_deployment(wanted)
        found = []
        for document in wanted.documents:
            kind = await self._kinds.of(str(document.get("apiVersion") or ""), str(document.get("kind") or ""))
            item = kube_plan.unmarked(wanted, document, kind)
            found.append(kube_plan.marked(wanted, item, instance=self._instance) if marked else item)
        return found

    async def apply(self, wanted: Wanted) -> None:
        """Make it so. Raises Invalid, Refused, FieldConflict, Unavailable; may be called again after any of them."""
        items = await self.items(wanted)
        old = await self._trusted(wanted, items, await self._before(wanted, items))
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

    async def found_again(self, ref: ServiceRef, namespace: str) -> Inventory:
        """An inventory for what is there of a service, when somebody deleted its own."""
        return await found_again(self._api, ref, namespace, instance=self._instance)

    async def lost(self, wanted: Wanted, there: Object) -> tuple[str, ...]:
        """What to say of a service without its inventory; where drift is kept it is made anew as things stand."""
        if there.metadata.annotations.get(PREFIX + "deployment") != wanted.deployment:
            return ()
        name = f"{INVENTORY_NAME}{wanted.ref.service}"
        if wanted.drift == "keep":
            log.warning("%s: %s was deleted: made anew, and what is there counts as applied", wanted.ref, name)
            await self._record(await self._accepted(wanted, await self.items(wanted)))
            return ()
        return (f"ConfigMap {name}: was deleted",)

    async def _accepted(self, wanted: Wanted, items: list[Item]) -> Inventory:
        """The inventory as if all had just been applied, whatever others made of it."""
        known = {item.key: item.hash for item in items}
        found = await self.found_again(wanted.ref, kube_plan.namespace_of(wanted))
        entries = []
        for entry in found.entries:
            seen = await self._look(await self._kinds.of(entry.api, entry.kind), found.namespace, entry.name)
            owned = seen.metadata.owned if seen else ""
            entries.append(replace(entry, hash=known.get(entry.key, ""), owned=owned))
        return replace(found, deployment=wanted.deployment, entries=tuple(entries))

    async def _before(self, wanted: Wanted, items: list[Item]) -> Inventory:
        """What was applied in the namespace that is wanted; that in another stays until this runs."""
        namespace = kube_plan.namespace_of(wanted)
        known, there = self._inventory(wanted.ref), self._there(wanted.ref)
        if known is not None and known.namespace == namespace:
            return known
        if there is None or there.metadata.namespace != namespace:
            return Inventory(wanted.ref, namespace, "", ())
        log.warning("%s: its inventory is gone: what is there is found again by its labels", wanted.ref)
        found = await self.found_again(wanted.ref, namespace)
        if there.metadata.annotations.get(PREFIX + "deployment") != wanted.deployment:
            return found
        # The release job of what runs has ended, or nothing would run; it is not run a second time.
        jobs = [Entry(*item.key, item.hash) for item in items if item.kind.kind in JOBS]
        kept = [one for one in found.entries if one.key not in {job.key for job in jobs}]
        return replace(found, entries=(*kept, *jobs))

    async def drift(self, inventory: Inventory) -> list[Drift]:
        """What somebody else changed or deleted since it was applied, and what was left to others."""
        found = []
        for entry in inventory.entries:
            found += [Drift(entry, f"{field} is left to another") for field in entry.left]
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

    async def difference(self, wanted: Wanted, *, marked: bool = True) -> tuple[str, ...]:
        """What an apply would change, in lines; nothing is changed. Raises as ``apply`` does."""
        items, namespace = await self.items(wanted, marked=marked), kube_plan.namespace_of(wanted)
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
            await self.make_namespace(old.namespace, wanted.ref.environment)
            await self._record(announced)

    async def make_namespace(self, name: str, environment: str) -> None:
        """For the environment whose services live there."""
        await kube_namespaces.make(
            self._api, name, environment, pod_security=self._pod_security, instance=self._instance
        )

    async def _one(self, wanted: Wanted, item: Item, entry: Entry | None) -> Entry:
        namespace = kube_plan.namespace_of(wanted)
        if entry and item.kind.kind in JOBS and entry.hash == item.hash:
            return entry
        seen = await self._look(item.kind, namespace, item.name)
        whole = wanted.drift == "keep" or not (entry and entry.left)
        if entry and entry.hash == item.hash and seen and seen.metadata.owned == entry.owned and whole:
            return entry
        seen = seen or await self._ask(item.kind, namespace, item.name)
        if seen is not None:
            self._check_ours(wanted, item, seen)
        drifted = bool(entry and entry.owned and seen and seen.metadata.owned != entry.owned)
        if entry and drifted and wanted.drift == "keep" and entry.hash == item.hash:
            return entry
        data, left = await self._patched(wanted, item, namespace)
        self._wrote(item.kind, data)
        made = msgspec.json.decode(data, type=Object)
        made.metadata.stripped()
        return Entry(*item.key, item.hash, made.metadata.owned, left)

    async def _ask(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The watches see what carries our label; what is there without it is asked for by name."""
        try:
            data = await self._api.get(kind.object(namespace, name), doing=f"look at {kind.kind} {name}")
        except NotFound:
            return None
        found = msgspec.json.decode(data, type=Object)
        found.metadata.stripped()
        return found

    async def _patched(self, wanted: Wanted, item: Item, namespace: str) -> tuple[bytes, tuple[str, ...]]:
        """The object as applied, and the fields that were left to other managers."""
        try:
            return await self._patch(item, namespace, force=False), ()
        except FieldConflict as error:
            if wanted.drift == "keep":
                return await self._beside(wanted, item, namespace, error)
            log.warning("%s: taking back what others changed: %s", wanted.ref, error)
            return await self._patch(item, namespace, force=True), ()

    async def _beside(
        self, wanted: Wanted, item: Item, namespace: str, conflict: FieldConflict
    ) -> tuple[bytes, tuple[str, ...]]:
        """All but the fields that are to be kept. Raises FieldConflict where one of them is the release itself."""
        fields = tuple(claim.field for claim in conflict.claims)
        document = kube_claims.without(item.document, fields)
        if document is None:
            raise conflict
        log.warning("%s: kept as others have it: %s", wanted.ref, conflict)
        return await self._patch(replace(item, document=document), namespace, force=False), fields

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
