"""The gate's answers for one group of events: asked at once before anything is written, and asked once only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from gitops.rules.order import IsDescendant
from pipeline.errors import EncliiError
from pipeline.events import DeployRequested, Event, ReleaseReady
from pipeline.records import Release, Verdict
from pipeline.store import Store, Stored

AT_ONCE = 16


class Gates:
    """The gate, with every answer kept for as long as the group is worked on; a refusal is an answer too."""

    def __init__(self, gate: Callable[[Release], Awaitable[Verdict]], is_descendant: IsDescendant) -> None:
        self._gate, self._is_descendant = gate, is_descendant
        self._answers: dict[str, Verdict | EncliiError] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.releases: list[Stored[Release]] = []

    async def __call__(self, release: Release) -> Verdict:
        """The verdict. Raises what the gate raised."""
        if release.id not in self._answers:
            await self._ask(release)
        answer = self._answers[release.id]
        if isinstance(answer, EncliiError):
            raise answer
        return answer

    async def warm(self, store: Store, events: Sequence[Event]) -> None:
        """Ask for every release that ``events`` name, several at a time."""
        wanted = {event.release for event in events if isinstance(event, ReleaseReady | DeployRequested)}
        await asyncio.gather(*(self._warm(store, release) for release in wanted - {"", *self._answers}))

    async def _warm(self, store: Store, release: str) -> None:
        async with self._slots:
            try:
                stored = await store.get(Release, release)
            except EncliiError:
                return
            if stored is not None:
                self.releases.append(stored)
                await asyncio.gather(self._ask(stored.record), self._bring(stored.record))

    async def _bring(self, release: Release) -> None:
        """Its commit is fetched by whoever is asked for its place in history: the answer that counts comes later."""
        with contextlib.suppress(EncliiError):
            await self._is_descendant(release.repository, release.sha, release.sha)

    async def _ask(self, release: Release) -> None:
        try:
            self._answers[release.id] = await self._gate(release)
        except EncliiError as error:
            self._answers[release.id] = error
