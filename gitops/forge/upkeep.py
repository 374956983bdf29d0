"""What forges tell beside comments: buttons of our checks, a repository's new name; and how a command was decided."""

from __future__ import annotations

import logging

import msgspec

from gitops.forge import LEVELS, Level
from gitops.forge.forges import Forges, Place
from gitops.forge.pending import COMMAND, Pending
from gitops.forge.wanted import PREVIEW_CHECK
from pipeline.deliveries import CHECKS
from pipeline.errors import EncliiError, NotFound, Permanent, Refused
from pipeline.events import CheckAsked, DeployRequested, Event, LinkRequested, PreviewRequested, RepositoryMoved
from pipeline.origin import Origin
from pipeline.previews import PullRequest
from pipeline.records import Decision, Project, Run
from pipeline.store import Change, Step, Store, now

log = logging.getLogger(__name__)


class Upkeep:
    """The handlers of what is no comment."""

    def __init__(self, store: Store, forges: Forges, pending: Pending) -> None:
        self._store = store
        self._forges = forges
        self._pending = pending

    async def handle(self, event: Event) -> Step:
        """Decide a button that was pressed, or follow a repository to its new name. Raises Retryable."""
        if await self._store.get(Decision, _identity(event)) is not None:
            return Step()
        assert isinstance(event, CheckAsked | RepositoryMoved)
        place = await self._forges.of(event.repository)
        if place is None:
            raise Refused("no credential opens this forge: docs/github.md", reason="no_forge")
        if isinstance(event, RepositoryMoved):
            return await self._moved(event, place)
        return await self._button(event, place)

    async def failed(self, event: Event, error: Exception) -> Step:
        """The decision of what could not be done."""
        reason = error.reason if isinstance(error, EncliiError) else "unexpected"
        outcome = "refused" if isinstance(error, Permanent) else "failed"
        return _decided(event, outcome, reason, str(error))

    async def _moved(self, event: RepositoryMoved, place: Place) -> Step:
        """The number is the identity; the address is the forge's word now, not the payload's."""
        known = await place.forge.lookup(place.where)
        if known.origin != place.where.origin:
            raise Refused(f"{known.name} is another repository", reason="other_repository")
        link = LinkRequested(
            id=f"{event.id}/link", at=now(), trace=event.trace, project=place.repository.project,
            repository=place.repository.id, name=place.repository.name, forge=place.repository.forge, url=known.url,
            actor=event.actor, hook=place.repository.hook, credential=place.repository.credential,
        )  # fmt: skip
        origin = Origin(id=known.origin, repository=place.repository.id, name=known.name)
        step = _decided(event, "accepted", "repository_moved", f"it is fetched from {known.url} now", link)
        return Step((*step.changes, Change(origin, None)), step.events)

    async def _button(self, event: CheckAsked, place: Place) -> Step:
        project = await self._store.get(Project, place.repository.project)
        rules = project.record.chatops if project else {}
        approve = event.check.action == "approve"
        least = rules.get("approve", "maintain") if approve else rules.get("preview", "write")
        level = await place.forge.level(place.where, event.actor)
        if not _reaches(level, least):
            raise Refused(f"this needs {least}; {event.actor} has {level}", reason="missing_right")
        if event.check.name == PREVIEW_CHECK:
            return await self._preview(event, place, level, approve=approve)
        return await self._again(event, place, level)

    async def _preview(self, event: CheckAsked, place: Place, level: Level, *, approve: bool) -> Step:
        for number in await self._numbers(event):
            pull = await place.forge.pull(place.where, number)
            if pull.head == event.check.sha and pull.state == "open":
                command = PreviewRequested(
                    id=event.id + COMMAND, at=now(), trace=event.trace, verb="approve" if approve else "restart",
                    project=place.repository.project, repository=event.repository, number=number, sha=pull.head,
                    actor=event.actor, role=level,
                )  # fmt: skip
                return _decided(event, "accepted", "approved" if approve else "again", f"as {command.id}", command)
        raise Refused("that commit is no open pull request's head any more", reason="ref_changed")

    async def _numbers(self, event: CheckAsked) -> list[int]:
        """The pull requests that may be meant: GitHub names none that comes from a fork, but its head was heard of."""
        every = await self._store.all(PullRequest)
        known = [one.number for one in every if (one.repository, one.head) == (event.repository, event.check.sha)]
        return list(dict.fromkeys((*event.check.numbers, *known)))

    async def _again(self, event: CheckAsked, place: Place, level: Level) -> Step:
        every = await self._store.all(Run)
        runs = [run for run in every if (run.repository, run.sha) == (place.repository.id, event.check.sha)]
        service = event.check.name.removeprefix(CHECKS)
        run = next((run for run in reversed(runs) if service in (*run.services, "push")), None)
        if run is None:
            raise NotFound("no run of that commit is known any more", reason="unknown_run")
        if run.preview is not None:
            return await self._preview(event, place, level, approve=False)
        command = DeployRequested(
            id=event.id + COMMAND, at=now(), trace=event.trace, project=run.project, environment="",
            service="" if service == "push" else service, actor=event.actor, sha=run.sha, repository=run.repository,
            ref=run.ref, fresh=service != "push", why="a button of its check",
        )  # fmt: skip
        return _decided(event, "accepted", "again", f"as {command.id}", command)

    async def decisions(self) -> None:
        """React to what was decided of the commands that comments started, for ever."""
        async with self._store.bus.watch("st.decision.*") as messages:
            async for message in messages:
                decision = msgspec.json.decode(message.data, type=Decision)
                comment, found, _ = decision.id.partition(COMMAND)
                if found and "/comment/" in comment:
                    await self._react(comment, decision)

    async def _react(self, comment: str, decision: Decision) -> None:
        origin, _, number = comment.partition("/comment/")
        try:
            place = await self._forges.of(origin)
            if place is not None:
                await self._pending.decided(place, number, decision)
        except EncliiError as error:
            log.info("no reaction to %s: %s", comment, error)


def _identity(event: Event) -> str:
    """A delivery has a decision of its own already: that it was taken."""
    return event.id + "/done"


def _reaches(level: Level, least: str) -> bool:
    return least in LEVELS and LEVELS.index(level) >= LEVELS.index(next(one for one in LEVELS if one == least))


def _decided(event: Event, outcome: str, reason: str, message: str, command: Event | None = None) -> Step:
    decision = Decision(
        id=_identity(event), about="command", outcome=outcome, reason=reason, message=message,  # type: ignore[arg-type]
        repository=getattr(event, "repository", ""), actor=getattr(event, "actor", ""), at=now(),
    )  # fmt: skip
    return Step((Change(decision, 0),), (command,) if command else ())
