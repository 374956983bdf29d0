"""Tells forges what the records say, and each thing once: what was said is a record, and only a difference is said.

A change marks what is to be looked at again; a moment later it is looked at, with the records as they are then, so many
changes are one answer. A comment is edited every ten seconds at most. What could not be said is tried again when the
forge wants to be asked; a credential that may not say it is asked no more until something changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from gitops.forge import Check, Shown, sticky, wanted
from gitops.forge.forges import Forges, Place
from gitops.forge.pending import Pending
from pipeline.answers import Answer
from pipeline.errors import EncliiError, Retryable
from pipeline.previews import GONE, Preview, is_preview
from pipeline.records import Deployment, Job, Live, Project, Release, Run
from pipeline.store import Change, Step, Store, now

log = logging.getLogger(__name__)

OLDEST: Final = 86_400.0
MOMENT: Final = 0.3
COMMENT_PAUSE: Final = 10.0
AT_ONCE: Final = 4
PER_MINUTE, PER_HOUR = 60, 400
BACKOFF: Final = (2.0, 5.0, 15.0, 60.0, 120.0)

Key = tuple[str, ...]


class Pace:
    """Not more comments than a forge takes of one writer: GitHub counts 80 a minute and 500 an hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: deque[float] = deque()

    def wait(self) -> float:
        """Seconds until one more may be written; 0.0: now, and it is counted."""
        at = self._clock()
        while self._made and self._made[0] <= at - 3_600:
            self._made.popleft()
        if len(self._made) >= PER_HOUR:
            return self._made[0] + 3_600 - at
        recent = [one for one in self._made if one > at - 60]
        if len(recent) >= PER_MINUTE:
            return recent[0] + 60 - at
        self._made.append(at)
        return 0.0


class Answers:
    """One installation's answers; ``follow`` marks, ``work`` tells."""

    def __init__(
        self, store: Store, forges: Forges, *, console_url: str, commands: Pending, pause: float = COMMENT_PAUSE
    ) -> None:
        self.commands = commands
        self._store = store
        self._forges = forges
        self._console = console_url.rstrip("/")
        self._pause = pause
        self._due: dict[Key, float] = {}
        self._tries: dict[Key, int] = {}
        self._spoken: dict[Key, float] = {}
        self._moved = asyncio.Event()
        self._pace = Pace()

    def mark(self, key: Key, *, after: float = MOMENT) -> None:
        """Look at it again soon; a comment not before its pause is over."""
        due = time.monotonic() + after
        if key[0] == "preview":
            due = max(due, self._spoken.get(key, 0.0) + self._pause)
        self._due[key] = min(due, self._due.get(key, due))
        self._moved.set()

    async def follow(self, subjects: str, key: Callable[[bytes], Key | None]) -> None:
        """Mark what every record of a kind is about, those of today and all that come."""
        async with self._store.bus.watch(subjects) as messages:
            async for message in messages:
                if time.time() - message.at > OLDEST:
                    continue
                found = key(message.data)
                if found is not None:
                    self.mark(found)

    def watching(self) -> list[Awaitable[None]]:
        """The kinds that answers come from."""
        return [
            self.follow("st.run.*", lambda data: ("run", msgspec.json.decode(data, type=Run).id)),
            self.follow("st.job.*", lambda data: ("run", msgspec.json.decode(data, type=Job).run)),
            self.follow("st.deployment.*", lambda data: ("deployment", msgspec.json.decode(data, type=Deployment).id)),
            self.follow("st.preview.*", lambda data: ("preview", *msgspec.json.decode(data, type=Preview).key)),
        ]

    async def work(self) -> None:
        """Tell what is due, for ever, some at a time."""
        slots = asyncio.Semaphore(AT_ONCE)
        busy: set[Key] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                self._moved.clear()
                at = time.monotonic()
                for key in [key for key, due in self._due.items() if due <= at and key not in busy]:
                    await slots.acquire()
                    del self._due[key]
                    busy.add(key)
                    task = group.create_task(self._one(key))
                    task.add_done_callback(functools.partial(self._ended, key, busy, slots))
                waiting = [due for key, due in self._due.items() if key not in busy]
                with contextlib.suppress(TimeoutError):
                    limit = max(0.01, min(waiting) - time.monotonic()) if waiting else 60.0
                    await asyncio.wait_for(self._moved.wait(), limit)

    def _ended(self, key: Key, busy: set[Key], slots: asyncio.Semaphore, _: asyncio.Task[None]) -> None:
        busy.discard(key)
        slots.release()
        self._moved.set()

    async def _one(self, key: Key) -> None:
        try:
            async with asyncio.timeout(120.0):
                await self.answer(key)
            self._tries.pop(key, None)
        except (EncliiError, TimeoutError) as error:
            tries = self._tries[key] = self._tries.get(key, 0) + 1
            delay = (error.delay if isinstance(error, Retryable) else None) or BACKOFF[min(tries, len(BACKOFF)) - 1]
            log.warning("not told %s: %s (try %d)", "/".join(key), error, tries)
            self.mark(key, after=delay)
        except Exception:
            log.exception("could not tell %s", "/".join(key))

    async def answer(self, key: Key) -> None:
        """Tell what is to be told of ``key`` as the records are now. Raises Retryable."""
        kind, *rest = key
        if kind == "run":
            await self._run(*rest)
        elif kind == "deployment":
            await self._deployment(*rest)
        else:
            await self._preview(*rest)

    async def _run(self, identity: str) -> None:
        found = await self._store.get(Run, identity)
        place = await self._place(found.record.repository) if found else None
        if found is None or place is None:
            return
        run = found.record
        jobs = [job.record for name in run.services if (job := await self._store.get(Job, run.id, name))]
        for check in wanted.of_run(run, jobs, console_url=self._console):
            await self._check(place, check, run.created_at)

    async def _deployment(self, identity: str) -> None:
        found = await self._store.get(Deployment, identity)
        if found is None or is_preview(found.record.environment) or not found.record.release:
            return
        one = found.record
        release = await self._store.get(Release, one.release)
        place = await self._place(release.record.repository) if release else None
        if place is None:
            return
        live = await self._store.get(Live, one.project, one.environment, one.service)
        project = await self._store.get(Project, one.project)
        rules = next((e for e in project.record.environments if e.name == one.environment), None) if project else None
        shown = wanted.of_deployment(
            one, address=live.record.address if live else "", production=bool(rules and rules.protected),
            console_url=self._console,
        )  # fmt: skip
        if shown is not None:
            await self._show(place, shown, one.created_at)

    async def _preview(self, *key: str) -> None:
        found = await self._store.get(Preview, *key)
        if found is None or not found.record.number:
            return
        preview = found.record
        place = await self._place(preview.repository)
        if place is None:
            return
        await self._comment(place, preview)
        await self.commands.ended(place, preview)
        check = wanted.check_of_preview(preview, console_url=self._console)
        if check is not None:
            await self._check(place, check, preview.created_at)
        shown = wanted.shown_of_preview(preview, console_url=self._console)
        if shown is not None:
            await self._replaced(place, shown, preview.created_at)
            await self._show(place, shown, preview.created_at)

    async def _replaced(self, place: Place, shown: Shown, since: str) -> None:
        """An earlier head's deployment ends when another head is shown: GitHub ends none that passes by itself."""
        newest = await self._known(place, f"newest/{shown.key}")
        if newest is not None and newest.remote == shown.sha:
            return
        if newest is not None:
            gone = dataclasses.replace(
                shown, sha=newest.remote, state="inactive", title="another head is shown", url=""
            )
            await self._show(place, gone, since)
        told = Answer(repository=place.where.origin, about=f"newest/{shown.key}", remote=shown.sha, at=now())
        await self._store.commit(Step((Change(told, None),)))

    async def _comment(self, place: Place, preview: Preview) -> None:
        body = sticky.comment(preview, console_url=self._console)
        subject = f"comment/{preview.number}"

        async def say(known: str) -> str:
            wait = self._pace.wait()
            if wait:
                raise Retryable("so many comments", reason="too_many_comments", delay=wait)
            self._spoken["preview", *preview.key] = time.monotonic()
            return await place.forge.say(place.where, preview.number, sticky.marker(preview.number), body, known)

        if preview.state in GONE and (await self._known(place, subject)) is None:
            return  # nobody was told of it: no need to tell that it is gone
        await self._tell(place, subject, body, say, "")

    async def _check(self, place: Place, check: Check, since: str) -> None:
        async def say(known: str) -> str:
            return await place.forge.check(place.where, check, known)

        await self._tell(place, f"check/{check.sha}/{check.name}", check.__dict__, say, since)

    async def _show(self, place: Place, shown: Shown, since: str) -> None:
        async def say(known: str) -> str:
            return await place.forge.show(place.where, shown, known)

        await self._tell(place, f"environment/{shown.key}/{shown.sha}", shown.__dict__, say, since)

    async def _known(self, place: Place, subject: str) -> Answer | None:
        found = await self._store.get(Answer, place.where.origin, subject)
        return found.record if found else None

    async def _tell(
        self, place: Place, subject: str, said: object, say: Callable[[str], Awaitable[str]], since: str
    ) -> None:
        """Say it unless it was said, and remember. What is older than what was said last is not said."""
        known = await self._known(place, subject) or Answer(repository=place.where.origin, about=subject)
        token = wanted.digest(said)
        if known.said == token or (since and known.since > since):
            return
        try:
            remote = await say(known.remote)
            told = replace(known, said=token, remote=remote, since=since, problem="", at=now())
        except Retryable:
            raise
        except EncliiError as error:
            log.warning("%s is not told %s: %s", place.where.name, subject, error)
            told = replace(known, said=token, since=since, problem=error.reason, at=now())
        await self._store.commit(Step((Change(told, None),)))

    async def _place(self, repository: str) -> Place | None:
        try:
            return await self._forges.of(repository)
        except Retryable:
            raise
        except EncliiError as error:
            log.warning("%s cannot be told anything: %s", repository, error)
            return None
