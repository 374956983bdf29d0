"""Tells destinations what projects want them to be told: each thing once, and again until it was taken.

What was told is a record under the destination's name, so a restart tells nothing twice and goes on with what is open:
that follows from the records of the last hours. A failure is remembered, so the next release that runs is a recovery.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from gitops.forge import destinations, notices
from gitops.forge.notices import Notice
from pipeline.answers import Answer
from pipeline.errors import EncliiError, Retryable
from pipeline.previews import Preview
from pipeline.records import Deployment, Project, Record, Target
from pipeline.store import Change, Step, Store, now

log = logging.getLogger(__name__)

OLDEST: Final = 10_800.0
BACKOFF: Final = (2.0, 10.0, 60.0, 300.0, 900.0)
TRIES: Final = 12
R = TypeVar("R", bound=Record)


class Notifier:
    """One installation's notices; ``watching`` finds them, ``work`` tells them."""

    def __init__(self, store: Store, folder: Path, *, console_url: str, backoff: tuple[float, ...] = BACKOFF) -> None:
        self._store = store
        self._folder = folder
        self._console = console_url.rstrip("/")
        self._backoff = backoff
        self._due: dict[tuple[str, str], tuple[float, int, Notice]] = {}
        self._moved = asyncio.Event()

    @property
    def open(self) -> int:
        """How many notices wait to be told."""
        return len(self._due)

    def watching(self) -> list[Awaitable[None]]:
        """The kinds of records that notices come from."""
        return [
            self._follow("st.deployment.*", Deployment, notices.of_deployment),
            self._follow("st.target.*", Target, notices.of_target),
            self._follow("st.preview.*", Preview, notices.of_preview),
        ]

    async def _follow(self, subjects: str, kind: type[R], read: Callable[[R], Notice | None]) -> None:
        async with self._store.bus.watch(subjects) as messages:
            async for message in messages:
                if time.time() - message.at > OLDEST:
                    continue
                found = read(msgspec.json.decode(message.data, type=kind))
                if found is not None:
                    await self._noticed(found)

    async def _noticed(self, notice: Notice) -> None:
        project = await self._store.get(Project, notice.project)
        for name, kinds in (project.record.notifications if project else {}).items():
            if notice.kind in kinds or (notice.kind == "failure" and "recovery" in kinds):
                self._due.setdefault((name, notice.id), (0.0, 0, notice))
        self._moved.set()

    async def work(self) -> None:
        """Tell what is due, one after the other, for ever."""
        while True:
            self._moved.clear()
            at = time.monotonic()
            for key, (due, tries, notice) in list(self._due.items()):
                if due <= at:
                    await self._one(key, tries, notice)
            waits = [due for due, _, _ in self._due.values()]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), max(0.05, min(waits) - time.monotonic()) if waits else 60.0)

    async def _one(self, key: tuple[str, str], tries: int, notice: Notice) -> None:
        try:
            await self.tell(key[0], notice)
            del self._due[key]
        except Retryable as error:
            wait = error.delay or self._backoff[min(tries, len(self._backoff) - 1)]
            log.warning("%s is not told %s: %s (try %d)", key[0], notice.id, error, tries + 1)
            self._due[key] = (time.monotonic() + wait, tries + 1, notice)
            if tries + 1 >= TRIES:
                del self._due[key]
                await self._keep(key[0], notice, error.reason)
        except Exception:  # one notice is no reason to tell no other
            log.exception("%s could not be told %s", *key)
            del self._due[key]

    async def tell(self, name: str, notice: Notice) -> None:
        """Tell one destination, unless it was told. Raises Retryable."""
        if await self._store.get(Answer, *_told(name, notice.id)) is not None:
            return
        project = await self._store.get(Project, notice.project)
        wanted = project.record.notifications.get(name, ()) if project else ()
        if notice.kind == "recovery" and not await self._failing(name, notice):
            return
        problem = ""
        if notice.kind in wanted:
            try:
                found = await asyncio.to_thread(destinations.read, self._folder, name)
                await destinations.send(found, notice, link=f"{self._console}/why?about={notice.about}")
            except Retryable:
                raise
            except EncliiError as error:
                log.warning("%s is not told %s: %s", name, notice.id, error)
                problem = error.reason
        await self._keep(name, notice, problem)

    async def _failing(self, name: str, notice: Notice) -> bool:
        found = await self._store.get(Answer, *_told(name, f"failing/{notice.place}"))
        return found is not None and found.record.said == "failing"

    async def _keep(self, name: str, notice: Notice, problem: str) -> None:
        repository, about = _told(name, notice.id)
        changes = [Change(Answer(repository=repository, about=about, said="told", problem=problem, at=now()), None)]
        if notice.place:
            repository, about = _told(name, f"failing/{notice.place}")
            said = "failing" if notice.kind == "failure" else "well"
            changes.append(Change(Answer(repository=repository, about=about, said=said, at=now()), None))
        await self._store.commit(Step(tuple(changes)))


def _told(name: str, identity: str) -> tuple[str, str]:
    return f"notify/{name}", identity
