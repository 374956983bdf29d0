"""The safety net: what forges did not tell is found by asking, with a budget, and only when something changed.

Heads and open pull requests of registered repositories are compared with what was heard of them; a difference becomes
the event that the webhook would have been. GitHub's own log of an App's deliveries is asked for those that failed, and
each is sent again once, as long as GitHub keeps it.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from typing import Any, Final

from msgspec.structs import replace

from gitops.forge import Where
from gitops.forge.door import fine
from gitops.forge.forges import Forges, Place
from gitops.forge.github import GitHub
from gitops.forge.github_door import GitHubDoor
from gitops.forge.github_events import EVENTS, PERMISSIONS
from pipeline.answers import APP_HEALTH, GAP, Answer
from pipeline.errors import EncliiError, NotFound, Permanent
from pipeline.events import Delivery, Event, PullRequestChanged
from pipeline.names import BRANCH_PREFIX
from pipeline.previews import PullRequest
from pipeline.records import Branch, Project, Repository
from pipeline.said import PullSaid
from pipeline.store import Change, Step, Store, now

log = logging.getLogger(__name__)

PAUSE: Final = 300.0
BUDGET: Final = 200
"""Repositories looked at in one round; those left over begin the next."""
KEPT: Final = datetime.timedelta(days=3)


class SafetyNet:
    """Looks again every five minutes; tags of answers are kept, so a quiet repository costs two empty answers."""

    def __init__(self, store: Store, forges: Forges) -> None:
        self._store = store
        self._forges = forges
        self._tags: dict[tuple[str, str], str] = {}
        self._next = 0

    async def forever(self) -> None:
        """Look now and every few minutes; a forge that is away only makes it later."""
        while True:
            try:
                await self.look()
            except EncliiError as error:
                log.warning("not looked: %s", error)
            await asyncio.sleep(PAUSE)

    async def look(self) -> list[str]:
        """Look once; the ids of what was missed. Raises Unavailable when the store is away."""
        every = [one for one in await self._store.all(Repository) if one.project and one.forge != "local"]
        turn = [every[(self._next + n) % len(every)] for n in range(min(BUDGET, len(every)))]
        self._next = (self._next + len(turn)) % max(1, len(every))
        missed: list[str] = []
        for repository in turn:
            try:
                place = await self._forges.of(repository.id)
                if place is not None:
                    missed += await self._repository(place)
            except EncliiError as error:
                log.warning("%s was not looked at: %s", repository.id, error)
        await self._apps(every)
        if missed:
            gap = Answer(repository=GAP[0], about=GAP[1], said=", ".join(missed)[:500], at=now())
            await self._store.commit(Step((Change(gap, None),)))
        return missed

    async def _repository(self, place: Place) -> list[str]:
        return [*await self._heads(place), *await self._pulls(place)]

    async def _heads(self, place: Place) -> list[str]:
        key = (place.where.origin, "heads")
        seen = await place.forge.heads(place.where, self._tags.get(key, ""))
        project = await self._store.get(Project, place.repository.project)
        fed = {one.branch for one in project.record.environments} if project else set()
        found = [
            Delivery(
                id=f"poll:{place.where.origin}:{branch}:{sha}", at=now(), forge=place.forge.name, kind="sweep",
                repository=place.repository.id, ref=BRANCH_PREFIX + branch, after=sha, actor="unknown",
            )
            for branch, sha in seen.heads
            if branch in fed and await self._head(place.repository.id, branch) != sha
        ]  # fmt: skip
        missed = await self._published(found)
        self._tags[key] = seen.tag
        return missed

    async def _head(self, repository: str, branch: str) -> str:
        known = await self._store.get(Branch, repository, BRANCH_PREFIX + branch)
        return known.record.head if known else ""

    async def _pulls(self, place: Place) -> list[str]:
        key = (place.where.origin, "pulls")
        seen = await place.forge.pulls(place.where, self._tags.get(key, ""))
        if not seen.changed:
            return []
        known = {one.number: one for one in await self._store.all(PullRequest) if one.repository == place.where.origin}
        now_open = {one.number: one for one in seen.items}
        changed = [one for one in seen.items if _differs(one, known.get(one.number))]
        closed = [number for number, one in known.items() if one.state == "open" and number not in now_open]
        missed = await self._published([_read(place, one) for one in changed])
        missed += await self._published([await self._closed(place, number) for number in closed])
        self._tags[key] = seen.tag
        return missed

    async def _closed(self, place: Place, number: int) -> Event:
        try:
            return _read(place, await place.forge.pull(place.where, number))
        except NotFound:
            return _read(place, PullSaid(number=number, state="closed"))

    async def _published(self, events: list[Any]) -> list[str]:
        return [event.id for event in events if await self._store.publish(event)]

    async def _apps(self, every: list[Repository]) -> None:
        """What GitHub says of the App itself: failed deliveries, and what it lacks."""
        for forge in {id(one): one for one in [await self._github(one) for one in every] if one is not None}.values():
            try:
                await self._redeliver(forge)
                lacks = await lacking(forge)
            except EncliiError as error:
                log.warning("%s was not asked about its App: %s", forge.name, error)
                continue
            health = Answer(repository=APP_HEALTH[0], about=APP_HEALTH[1], problem=", ".join(lacks), at=now())
            await self._store.commit(Step((Change(health, None),)))

    async def _github(self, repository: Repository) -> GitHub | None:
        try:
            forge = await self._forges.on(repository)
        except EncliiError:
            return None
        return forge if isinstance(forge, GitHub) and forge.is_app else None

    async def _redeliver(self, forge: GitHub) -> None:
        oldest = datetime.datetime.now(datetime.UTC) - KEPT
        arrived: set[str] = set()
        door = forge.doors.app()
        async for one in forge.deliveries("/app/hook/deliveries", door):
            if datetime.datetime.fromisoformat(str(one["delivered_at"])) < oldest:
                return
            guid = str(one["guid"])
            if one["status_code"] in range(200, 300):
                arrived.add(guid)
            told = Answer(repository="github", about=f"delivery/{guid}", at=now())
            if guid in arrived or await self._store.get(Answer, *told.key) is not None:
                continue
            await self._store.commit(Step((Change(replace(told, problem=await _again(door, one["id"])), None),)))


async def _again(door: GitHubDoor, identity: object) -> str:
    """Ask for one delivery again: why it will not come, or "". Raises Unavailable: then the others wait too."""
    try:
        fine(await door.send("POST", f"/app/hook/deliveries/{identity}/attempts"), "a delivery, again")
    except Permanent as error:  # too old, or of an installation that is gone
        log.warning("GitHub does not deliver %s again: %s", identity, error)
        return error.reason
    return ""


async def lacking(forge: GitHub) -> list[str]:
    """The permissions and events that the App does not have, as GitHub says."""
    app = fine(await forge.doors.app().send("GET", "/app"), "the App")
    has = app.get("permissions") or {}
    permissions = [f"permission {name}: {level}" for name, level in PERMISSIONS.items() if not has.get(name)]
    return permissions + [f"event {name}" for name in EVENTS if name not in (app.get("events") or ())]


def _differs(said: PullSaid, known: PullRequest | None) -> bool:
    if known is None:
        return True
    now_is = (said.state, said.head, said.base, said.fork, said.draft)
    return now_is != (known.state, known.head, known.base, known.fork, known.draft)


def _read(place: Place, said: PullSaid) -> PullRequestChanged:
    where: Where = place.where
    state = f"{said.state}:{said.head}:{said.base}:{said.draft}:{said.updated_at}"
    return PullRequestChanged(
        id=f"poll:{where.origin}:{said.number}:{state}", at=now(), forge=place.forge.name, repository=where.origin,
        number=said.number, action="read", state=said.state, head=said.head, head_ref=said.branch,
        head_repository=said.source, base=said.base, fork=said.fork, draft=said.draft, merged=said.merged,
        author=said.author, updated_at=said.updated_at,
    )  # fmt: skip
