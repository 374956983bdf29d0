"""Retain: sheds from the registry what no environment, hold, promotion or job needs any more, and the logs with it.

An image is withdrawn from reuse first; then everything is read again, and only what both plans shed is deleted. A push
that reuses an image writes the image's record in its own step, so one of the two loses and decides again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pipeline import log_stream, retention, retention_logs, retention_plan
from pipeline.errors import Conflict, EncliiError, Permanent
from pipeline.events import Event, RetentionRequested
from pipeline.inventory import AT_ONCE, inventory
from pipeline.previews import Preview
from pipeline.records import (
    Decision,
    Deployment,
    Image,
    Job,
    Live,
    Outcome,
    Promotion,
    Release,
    Run,
    ServiceRecord,
    Shed,
    Target,
)
from pipeline.registry import Registry
from pipeline.retention import Fate, Held, Limits
from pipeline.retention_logs import Going
from pipeline.retention_needs import Records, key_of, needs
from pipeline.retention_plan import RetentionPlan
from pipeline.store import Change, Step, Store, now

LOGS_SECONDS = 3600.0


@dataclass(frozen=True)
class Seen:
    """What becomes of each manifest, and which build logs go with them."""

    fates: tuple[Fate, ...]
    logs: tuple[Going, ...]


@dataclass(frozen=True)
class Retainer:
    """The stage with its ports; each service keeps the last ``releases`` of each environment."""

    store: Store
    registry: Registry
    releases: int
    limits: Limits

    async def answer(self, _: bytes) -> bytes:
        """The plan as it would be carried out now, for whoever asks."""
        try:
            async with asyncio.timeout(retention_plan.LIMIT):
                seen = await self._read()
            return msgspec.json.encode(retention_plan.of(seen.fates, seen.logs))
        except EncliiError as error:
            return msgspec.json.encode(RetentionPlan(reason=error.reason, message=error.message))
        except TimeoutError:
            late = f"the registry was not read within {retention_plan.LIMIT:g} s"
            return msgspec.json.encode(RetentionPlan(reason="registry_timeout", message=late))

    async def handle(self, event: Event) -> Step:
        """Shed what the plan that somebody saw sheds; an empty step when that is decided already."""
        assert isinstance(event, RetentionRequested)
        if await self.store.get(Decision, event.id) is not None:
            return Step()
        seen = await self._read()
        fates = seen.fates
        if not await self._agreed(event, fates):
            text = "what would be shed is not what was seen; look at the plan again: enclii retention"
            return _decided(event, "refused", "moved_meanwhile", text)
        await self._withdraw(event, [fate.held for fate in fates if not fate.keep])
        again = await self._read()
        gone = await self._delete(again.fates, {fate.held.key for fate in fates if not fate.keep})
        logs = await self._purge(again.logs)
        told = f"shed {gone} of {len(fates)} manifests" + (f" and {logs} build logs" if logs else "")
        return _decided(event, "accepted", "shed", told)

    async def make_room(self, stopping: asyncio.Event) -> None:
        """Shed the logs that go anyway, once their store is half full, until ``stopping`` is set."""
        while not stopping.is_set():
            with contextlib.suppress(EncliiError):
                info = await self.store.bus.asked("STREAM.INFO.LOGS", {})
                if info["state"]["bytes"] * 2 > info["config"]["max_bytes"] > 0:
                    await self._purge((await self._read()).logs)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOGS_SECONDS)

    async def failed(self, event: Event, error: Exception) -> Step:
        """The decision of a request that could not be carried out; what was deleted until then stays so."""
        assert isinstance(event, RetentionRequested)
        reason, message = (error.reason, error.message) if isinstance(error, EncliiError) else ("unexpected", "")
        return _decided(event, "refused" if isinstance(error, Permanent) else "failed", reason, message)

    async def _agreed(self, event: RetentionRequested, fates: Sequence[Fate]) -> bool:
        """Whether the plan is the one that was seen; once begun, it is finished though less is left of it."""
        begun = await self.store.get(Shed, event.id)
        return begun is not None or event.expected in ("", retention.token(fates))

    async def _withdraw(self, event: RetentionRequested, going: Sequence[Held]) -> None:
        """From here on no push reuses these images, and no release of before is deployed with them."""
        keys = {one.key for one in going if not one.beside}
        await self._note(Shed(image=event.id, at=now(), by=event.id))
        for image in await self.store.all(Image):
            found = await self.store.get(Image, image.build_key) if key_of(image.image) in keys else None
            if found is None or not found.record.provenance:
                continue
            withdrawn = msgspec.structs.replace(found.record, provenance="")
            try:
                await self.store.commit(Step((Change(withdrawn, found.seq),)))
            except Conflict:
                continue  # a push took it at this moment: its job is on its way, and the next plan keeps it
        for repository, digest in sorted(keys):
            await self._note(Shed(image=f"{self.registry.host}/{repository}@{digest}", at=now(), by=event.id))

    async def _note(self, record: Shed) -> None:
        await self.store.commit(Step((Change(record, None),)))

    async def _delete(self, fates: Sequence[Fate], seen: set[retention.Key]) -> int:
        """Rank after rank, so that a death in between leaves nothing that cannot be found again."""
        going = [one for one in retention.shed(fates) if one.key in seen]
        turns = asyncio.Semaphore(AT_ONCE)

        async def delete(one: Held) -> None:
            async with turns:
                await self.registry.delete_manifest(one.repository, one.digest)

        for rank in sorted({retention.turn(one) for one in going}):
            await asyncio.gather(*(delete(one) for one in going if retention.turn(one) == rank))
        return len(going)

    async def _purge(self, logs: Sequence[Going]) -> int:
        for one in logs:
            await log_stream.delete(self.store.bus, one.subject)
        return len(logs)

    async def _read(self) -> Seen:
        """The registry first: what is named by a record that came meanwhile is then kept."""
        before = await self._repositories()
        held = await inventory(self.registry, before)
        all_of = self.store.all
        records = Records(
            targets=await all_of(Target), lives=await all_of(Live), deployments=await all_of(Deployment),
            releases=await all_of(Release), promotions=await all_of(Promotion), images=await all_of(Image),
            runs=await all_of(Run), jobs=await all_of(Job), previews=await self._previews(),
        )  # fmt: skip
        now = datetime.datetime.now(datetime.UTC)
        fates = retention.fates(held, needs(records, releases=self.releases, now=now), self.limits)
        kept = {fate.held.key for fate in fates if fate.keep}
        stored = await log_stream.stored(self.store.bus)
        return Seen(fates, retention_logs.going(stored, records, kept, self.limits, now=now))

    async def _previews(self) -> frozenset[tuple[str, str]]:
        there = (one for one in await self.store.all(Preview) if one.state != "removed")
        return frozenset((one.project, one.environment) for one in there)

    async def _repositories(self) -> set[str]:
        """Where services' images and caches are: what else the registry holds is nobody's business here."""
        names = {f"{one.project}/{one.service}" for one in await self.store.all(ServiceRecord)}
        names |= {f"{one.project}/{one.service}" for one in await self.store.all(Job)}
        return names | {name + retention.CACHE for name in names}


def _decided(event: RetentionRequested, outcome: Outcome, reason: str, message: str) -> Step:
    decision = Decision(
        id=event.id, about="command", outcome=outcome, reason=reason, message=message, actor=event.actor, at=now()
    )
    return Step((Change(decision, None),))
