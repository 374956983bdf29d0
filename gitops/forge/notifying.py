"""Tells destinations what projects want them to be told: each thing once, and again until it was taken.

What was told is a record under the destination's name, so a restart tells nothing twice and goes on with what is open:
that follows from the records of the last hours. A failure is remembered, so the next release that runs is a recovery.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from gitops.forge import cdevents, destinations, notices
from gitops.forge.notices import Notice
from pipeline.answers import Answer
from pipeline.errors import EncliiError, Retryable
from pipeline.previews import Preview
from pipeline.records import Deployment, Project, Record, Target
from pipeline.runs import Job, Run
from pipeline.store import Change, Step, Store, now

log = logging.getLogger(__name__)

OLDEST: Final = 10_800.0
BACKOFF: Final = (2.0, 10.0, 60.0, 300.0, 900.0)
TRIES: Final = 12
R = TypeVar("R", bound=Record)
Key = tuple[str, str]  # destination, notice


@dataclass
class Due:
    """A notice on its way to one destination; with an ``outcome`` it is over, and only the record of that is left."""

    notice: Notice
    at: float = 0.0
    tries: int = 0
    outcome: str | None = None


class Notifier:
    """One installation's notices; ``watching`` finds them, ``work`` tells them."""

    def __init__(self, store: Store, folder: Path, *, console_url: str, backoff: tuple[float, ...] = BACKOFF) -> None:
        self._store = store
        self._folder = folder
        self._console = console_url.rstrip("/")
        self._backoff = backoff
        self._due: dict[Key, Due] = {}
        self._busy: set[str] = set()
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
            self._follow("st.run.*", Run, notices.of_run),
            self._follow("st.job.*", Job, lambda _: None),
        ]

    async def _follow(self, subjects: str, kind: type[R], read: Callable[[R], Notice | None]) -> None:
        async with self._store.bus.watch(subjects) as messages:
            async for message in messages:
                if time.time() - message.at > OLDEST:
                    continue
                record = msgspec.json.decode(message.data, type=kind)
                notice = read(record)
                told = cdevents.of(record, message.at, self._console)
                await self._noticed([*([notice] if notice else []), *told])

    async def _noticed(self, found: Sequence[Notice]) -> None:
        wanted = await self._wanted(found[0].project) if found else {}
        for notice in found:
            for name, kinds in wanted.items():
                if notice.kind in kinds or (notice.kind == "failure" and "recovery" in kinds):
                    self._due.setdefault((name, notice.id), Due(notice))
        self._moved.set()

    async def _wanted(self, project: str) -> dict[str, tuple[str, ...]]:
        """Who is told of what, as soon as the store answers: what was seen once does not come again."""
        while True:
            try:
                found = await self._store.get(Project, project)
            except Retryable as error:
                await asyncio.sleep(error.delay or 1.0)
                continue
            return found.record.notifications if found else {}

    async def work(self) -> None:
        """Tell what is due, for ever: destinations side by side, each one thing after the other."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._moved.clear()
                for name in {key[0] for key in self._ready()} - self._busy:
                    self._busy.add(name)
                    group.create_task(self._round(name))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._moved.wait(), self._pause())

    async def _round(self, name: str) -> None:
        while mine := [key for key in self._ready() if key[0] == name]:
            await self._one(mine[0])
        self._busy.discard(name)
        self._moved.set()

    def _heads(self) -> dict[Key, Due]:
        """What is next: of one place nothing overtakes what came before it, so a recovery follows its failure."""
        heads: dict[tuple[str, str], Key] = {}
        for key, due in self._due.items():
            heads.setdefault((key[0], due.notice.place or key[1]), key)
        return {key: self._due[key] for key in heads.values()}

    def _ready(self) -> list[Key]:
        at = time.monotonic()
        return [key for key, due in self._heads().items() if due.at <= at]

    def _pause(self) -> float:
        waits = [due.at for key, due in self._heads().items() if key[0] not in self._busy]
        return max(0.05, min(waits) - time.monotonic()) if waits else 60.0

    async def _one(self, key: Key) -> None:
        """One try. What our own store cannot answer counts as none, and is tried again until it does."""
        name, due = key[0], self._due[key]
        try:
            if due.outcome is not None or await self._is_open(name, due.notice):
                due.outcome = await self._outcome(name, due) if due.outcome is None else due.outcome
                if due.outcome is None:
                    return
                await self._keep(name, due.notice, due.outcome)
        except Retryable as error:
            log.warning("%s: the record of %s waits: %s", name, due.notice.id, error)
            due.at = time.monotonic() + (error.delay or 1.0)
            return
        except Exception:  # one notice is no reason to tell no other
            log.exception("%s could not be told %s", *key)
        del self._due[key]

    async def _is_open(self, name: str, notice: Notice) -> bool:
        """Whether it is to be told still, and if it is a recovery: of a failure that came before it."""
        if await self._store.get(Answer, *_told(name, notice.id)) is not None:
            return False
        if notice.kind != "recovery":
            return True
        found = await self._store.get(Answer, *_told(name, f"failing/{notice.place}"))
        return found is not None and found.record.said == "failing" and found.record.since <= notice.at

    async def _outcome(self, name: str, due: Due) -> str | None:
        """ "" when it was told or nobody wants it, the problem when there is no use in trying; None: later again."""
        project = await self._store.get(Project, due.notice.project)
        if project is None or due.notice.kind not in project.record.notifications.get(name, ()):
            return ""
        try:
            await self._tell(name, due.notice)
        except Retryable as error:
            due.tries += 1
            log.warning("%s is not told %s: %s (try %d)", name, due.notice.id, error, due.tries)
            due.at = time.monotonic() + (error.delay or self._backoff[min(due.tries, len(self._backoff)) - 1])
            return error.reason if due.tries >= TRIES else None
        except EncliiError as error:
            log.warning("%s is not told %s: %s", name, due.notice.id, error)
            return error.reason
        return ""

    async def _tell(self, name: str, notice: Notice) -> None:
        found = await asyncio.to_thread(destinations.read, self._folder, name)
        await destinations.send(found, notice, link=f"{self._console}/why?about={notice.about}")

    async def _keep(self, name: str, notice: Notice, problem: str) -> None:
        repository, about = _told(name, notice.id)
        changes = [Change(Answer(repository=repository, about=about, said="told", problem=problem, at=now()), None)]
        if notice.place:
            repository, about = _told(name, f"failing/{notice.place}")
            said = "failing" if notice.kind == "failure" else "well"
            state = Answer(repository=repository, about=about, said=said, since=notice.at, at=now())
            changes.append(Change(state, None))
        await self._store.commit(Step(tuple(changes)))


def _told(name: str, identity: str) -> tuple[str, str]:
    return f"notify/{name}", identity
