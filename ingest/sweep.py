"""The git host's safety net: what the refs say is compared with what was announced, and the difference is announced.

It runs at start, every ``ENCLII_SWEEP``, and at once when a push ended without its hook. Publishing again what was
published is harmless, because the id comes from the stored intent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from ingest.gitrepos import CONFIG_NAME, CONFIG_PROJECT, CONFIG_REF, Repositories, RepositoryName
from ingest.pushes import Announcer, delivery_of
from pipeline.errors import EncliiError
from pipeline.events import ConfigMoved, Delivery
from pipeline.names import branch
from pipeline.records import Branch, Decision, Push
from pipeline.store import now

log = logging.getLogger(__name__)


def unrecorded(repository: str, ref: str, *, before: str, after: str) -> Delivery:
    """The delivery of a head that no intent explains: moved by hand on the disk, or the intent was lost."""
    return Delivery(
        id=f"sweep:{repository}:{ref}:{after}",
        at=now(),
        forge="local",
        kind="sweep",
        repository=repository,
        ref=ref,
        before=before,
        after=after,
        actor="deployer",
    )


class Sweeper:
    """Compares all repositories with the stores; remembers what it has seen announced, so a quiet minute is cheap."""

    def __init__(self, repositories: Repositories, announcer: Announcer, *, every: float = 60.0) -> None:
        self._every = every
        self._repositories = repositories
        self._announcer = announcer
        self._store = announcer.store
        self._settled: dict[tuple[str, str], tuple[str, str]] = {}
        self.late = asyncio.Event()

    async def forever(self) -> None:
        """Sweep now, every so many seconds, and when ``late`` is set; a store that is away only makes it later."""
        while True:
            self.late.clear()
            try:
                found = await self.sweep()
                if found:
                    log.info("announced what was missed: %s", ", ".join(found))
            except (EncliiError, OSError) as error:
                log.warning("sweep not finished: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.late.wait(), self._every)

    async def sweep(self) -> list[str]:
        """Compare everything once; the ids that were announced now. Raises Unavailable."""
        intents = {push.key: push for push in await self._store.all(Push)}
        found: list[str] = []
        for repository in await asyncio.to_thread(self._repositories.all):
            refs = await self._repositories.refs(repository)
            if repository.is_config:
                found += await self._config(refs)
                continue
            own = {push.ref: push for push in intents.values() if push.repository == repository.id}
            for ref in sorted(refs.keys() | own.keys()):
                value = refs.get(ref, "")
                found += await self._ref(repository, ref, value, own.get(ref), refs)
        return found

    async def _ref(
        self, repository: RepositoryName, ref: str, value: str, intent: Push | None, refs: dict[str, str]
    ) -> list[str]:
        state = (value, intent.delivery if intent else "")
        if self._settled.get((repository.id, ref)) == state:
            return []
        explained = intent is not None and intent.after == (value or "0" * len(intent.after))
        planned = await self._store.get(Branch, repository.id, ref)
        head = planned.record.head if planned else ""
        found: list[str] = []
        if intent is not None and explained:
            found = await self._once(repository, delivery_of(intent), refs, seen=head)
        elif value and branch(ref):
            before = head or "0" * len(value)
            lost = unrecorded(repository.id, ref, before=before, after=value)
            found = await self._once(repository, lost, refs, seen=head)
        self._settled[repository.id, ref] = state
        return found

    async def _once(
        self, repository: RepositoryName, delivery: Delivery, refs: dict[str, str], *, seen: str
    ) -> list[str]:
        """Publish unless it was planned or decided; the decision outlives the delivery's own thirty days."""
        if seen == delivery.after or await self._store.get(Decision, delivery.id) is not None:
            return []
        await self._announcer.register(repository, refs, delivery.actor)
        return [delivery.id] if await self._store.publish(delivery) else []

    async def _config(self, refs: dict[str, str]) -> list[str]:
        tip = refs.get(CONFIG_REF, "")
        key = (f"local:{CONFIG_PROJECT}/{CONFIG_NAME}", CONFIG_REF)
        if not tip or self._settled.get(key) == (tip, ""):
            return []
        fresh = await self._store.publish(ConfigMoved(id=tip, at=now(), commit=tip))
        self._settled[key] = (tip, "")
        return [tip] if fresh else []
