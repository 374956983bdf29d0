"""Commands in comments: who may ask for it is asked of the forge, and each comment ends in one stored decision.

The decision and what it starts are one step, under the comment's own id; a comment that comes again finds it decided.
Somebody who may not do it is told so once on a pull request, and after that gets 👎 alone, as do strangers.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gitops.forge import LEVELS, Level, rights
from gitops.forge.forges import Forges, Place
from gitops.forge.pending import COMMAND, Pending, react
from pipeline.answers import Answer
from pipeline.comments import HELP, Asked, Ignored, Refusal, read, unknown_names
from pipeline.deliveries import MARKER
from pipeline.errors import EncliiError, Permanent, Retryable
from pipeline.events import (
    CommentPosted,
    Event,
    HoldRequested,
    PreviewRequested,
    PullRequestChanged,
    ResumeRequested,
    RollbackRequested,
)
from pipeline.moments import before
from pipeline.previews import Preview, PullRequest, key_of
from pipeline.records import Decision, Project, ServiceRecord, Target
from pipeline.said import PullSaid
from pipeline.store import Change, Step, Store, now

PATIENCE: Final = 120.0
"""Seconds for which a forge that does not answer is asked again; then the command is refused."""
PER_PERSON, PER_PULL = 10, 30
WINDOW: Final = 60.0


class Crowd:
    """How many commands came in the last minute, of one person and under one pull request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, ...], dict[str, float]] = {}

    def too_many(self, key: tuple[str, ...], most: int, comment: str) -> bool:
        """Count a comment, once however often it comes; True when that is too many."""
        at = self._clock()
        if len(self._seen) > 10_000:
            self._seen.clear()
        seen = {one: when for one, when in self._seen.get(key, {}).items() if when > at - WINDOW}
        self._seen[key] = seen
        if len(seen) < most:
            seen.setdefault(comment, at)
        return comment not in seen


@dataclass(frozen=True)
class No:
    """A refusal; ``quiet``: it is not explained."""

    reason: str
    message: str
    quiet: bool = False


class Commands:
    """The handler of ``comment.posted``."""

    def __init__(self, store: Store, forges: Forges, pending: Pending, *, console_url: str) -> None:
        self._store = store
        self._forges = forges
        self._pending = pending
        self._console = console_url.rstrip("/")
        self._crowd = Crowd()

    async def handle(self, event: Event) -> Step:
        """Decide one comment; an empty step when it was decided before. Raises Retryable."""
        assert isinstance(event, CommentPosted)
        if await self._store.get(Decision, event.id) is not None:
            return Step()
        if self._crowd.too_many(
            ("person", event.repository, event.author), PER_PERSON, event.comment
        ) or self._crowd.too_many(("pull", event.repository, str(event.number)), PER_PULL, event.comment):
            text = "so many commands in one minute: the others were decided"
            return self._decided(event, "refused", "too_many_commands", text)
        place = await self._forges.of(event.repository)
        if place is None:
            return self._decided(event, "refused", "no_forge", "no credential opens this forge: docs/github.md")
        await react(place, event.number, event.comment, "eyes")
        return await self._asked(event, place)

    async def failed(self, event: Event, error: Exception) -> Step:
        """The decision of a comment that could not be decided."""
        assert isinstance(event, CommentPosted)
        reason = error.reason if isinstance(error, EncliiError) else "unexpected"
        return self._decided(event, "refused", reason, str(error))

    async def _asked(self, event: CommentPosted, place: Place) -> Step:
        asked = read(event)
        if isinstance(asked, Ignored):
            return self._decided(event, "skipped", asked.reason, "it is no command")
        try:
            level = await place.forge.level(place.where, event.author)
            if isinstance(asked, Refusal):
                return await self._refused(event, place, level, No(asked.reason, asked.message))
            return await self._known(event, place, asked, level)
        except Retryable as error:
            if _age(event.at) < PATIENCE:
                raise
            await react(place, event.number, event.comment, "-1")
            return self._decided(event, "refused", error.reason, f"who may do this cannot be known: {error.message}")
        except Permanent as error:
            await react(place, event.number, event.comment, "-1")
            return self._decided(event, "refused", error.reason, f"who may do this cannot be known: {error.message}")

    async def _known(self, event: CommentPosted, place: Place, asked: Asked, level: Level) -> Step:
        found = await self._store.get(Project, place.repository.project)
        if found is None:
            raise Retryable("the project is being read", reason="project_unknown", delay=1.0)
        project = found.record
        services = {one.service for one in await self._store.all(ServiceRecord) if one.project == project.slug}
        names = [one.name for one in project.environments]
        wrong = unknown_names(asked, services=services, environments=names)
        if level in ("none", "read") and rights.decide(asked, project, level) is not None:
            return await self._refused(event, place, level, No("missing_right", f"{event.author} has {level}", True))
        denied = rights.decide(asked, project, level) if wrong is None else wrong
        if denied is not None:
            return await self._refused(event, place, level, No(denied.reason, denied.message))
        return await self._done(event, place, project, asked, level)

    async def _done(self, event: CommentPosted, place: Place, project: Project, asked: Asked, level: Level) -> Step:
        if asked.verb in ("help", "why") or (asked.verb == "preview" and asked.preview in ("help", "status")):
            await self._reply(event, place, await self._told(event, asked))
            await react(place, event.number, event.comment, "rocket")
            return self._decided(event, "accepted", f"told_{asked.verb}", "the answer is a comment", level=level)
        if asked.verb == "preview":
            return await self._preview(event, place, project, asked, level)
        command = await self._environment(event, project, asked)
        if isinstance(command, No):
            return await self._refused(event, place, level, command)
        return self._decided(event, "accepted", asked.verb, f"as {command.id}", command, level=level)

    async def _preview(self, event: CommentPosted, place: Place, project: Project, asked: Asked, level: Level) -> Step:
        pull = await place.forge.pull(place.where, event.number)
        no = await self._unsafe(event, asked, pull)
        if no is not None:
            step = await self._refused(event, place, level, no)
            return Step(step.changes, (self._as_read(event, pull),)) if no.reason == "head_not_known" else step
        verb = asked.preview
        assert verb in ("up", "down", "extend", "restart", "approve")
        command = PreviewRequested(
            id=event.id + COMMAND, at=now(), trace=event.trace, verb=verb, project=project.slug,
            repository=event.repository, number=event.number, services=asked.services, sha=asked.sha or pull.head,
            seconds=asked.seconds, actor=event.author, role=level,
        )  # fmt: skip
        step = self._decided(event, "accepted", f"preview_{verb}", f"as {command.id}", command, level=level)
        if verb not in ("up", "restart", "approve"):
            return step
        waiting = self._pending.add(event.repository, event.number, event.comment)
        return Step((*step.changes, Change(waiting, None)), step.events)

    async def _unsafe(self, event: CommentPosted, asked: Asked, pull: PullSaid) -> No | None:
        """Whether the head may be another than the one that was seen when the command was written."""
        if pull.state != "open" and asked.preview != "down":
            return No("pull_request_closed", "the pull request is closed")
        if asked.preview == "approve" and asked.sha != pull.head:
            return No("ref_changed", f"the head is `{pull.head}` now: read that one, and approve it if it is good")
        if asked.preview not in ("up", "restart"):
            return None
        preview = await self._store.get(Preview, *key_of(event.repository, event.number, ""))
        if pull.fork and (preview is None or preview.record.approved != pull.head):
            return No(
                "approval_needed",
                f"from a fork: somebody who may, and has read that commit, writes `/preview approve {pull.head}`",
            )
        seen = await self._store.get(PullRequest, event.repository, str(event.number))
        known = seen.record if seen else None
        if known is not None and known.head == pull.head and before(known.head_at, event.created_at):
            return None
        return No("head_not_known", "a push came at the same time: look at it, and write the command again")

    def _as_read(self, event: CommentPosted, pull: PullSaid) -> PullRequestChanged:
        """What was read of the pull request, so that the command's repetition finds its head known."""
        return PullRequestChanged(
            id=f"{event.id}/read", at=now(), forge=event.forge, repository=event.repository, number=pull.number,
            action="read", state=pull.state, head=pull.head, head_ref=pull.branch, head_repository=pull.source,
            base=pull.base, fork=pull.fork, draft=pull.draft, merged=pull.merged, author=pull.author,
            updated_at=pull.updated_at or now(),  # not the comment's: the head may be younger than that
        )  # fmt: skip

    async def _environment(self, event: CommentPosted, project: Project, asked: Asked) -> Event | No:
        common: dict[str, Any] = {
            "id": event.id + COMMAND, "at": now(), "trace": event.trace, "project": project.slug,
            "environment": asked.environment, "actor": event.author,
            "why": asked.why or f"/{asked.verb} under pull request {event.number}",
        }  # fmt: skip
        if asked.verb == "hold":
            return HoldRequested(**common)
        if asked.verb == "resume":
            return ResumeRequested(**common)
        every = await self._store.all(Target)
        here = [one.service for one in every if (one.project, one.environment) == (project.slug, asked.environment)]
        if asked.to and len(here) != 1:
            return No("which_service", "releases are numbered by service and there are several: enclii rollback")
        return RollbackRequested(**common, to=asked.to, service=here[0] if len(here) == 1 else "")

    async def _told(self, event: CommentPosted, asked: Asked) -> str:
        if asked.verb == "help" or asked.preview == "help":
            return f"What can be written on a comment's first line: {HELP}"
        found = await self._store.get(Preview, *key_of(event.repository, event.number, ""))
        if found is None:
            return "There is no preview of this pull request. `/preview` makes one."
        preview = found.record
        about = f"{self._console}/why?about={preview.run or preview.id}"
        words = " ".join(one for one in (preview.message, f"({preview.reason})" if preview.reason else "") if one)
        return f"The preview is {preview.state}{': ' + words if words else ''}. [All of it]({about})"

    async def _reply(self, event: CommentPosted, place: Place, text: str) -> None:
        marker = f"{MARKER}:re={event.comment} -->"
        await place.forge.say(place.where, event.number, marker, f"{marker}\n{text}\n", "")

    async def _refused(self, event: CommentPosted, place: Place, level: Level, no: No) -> Step:
        step = self._decided(event, "refused", no.reason, no.message, level=level)
        await react(place, event.number, event.comment, "-1")
        told = Answer(repository=event.repository, about=f"refusal/{event.number}/{event.author}", at=now())
        if no.quiet or LEVELS.index(level) < LEVELS.index("triage"):
            return step
        before = await self._store.get(Answer, *told.key)
        if before is not None and before.record.remote != event.comment:
            return step
        mine = Answer(repository=told.repository, about=told.about, remote=event.comment, at=told.at)
        await self._store.commit(Step((Change(mine, before.seq if before else 0),)))
        await self._reply(event, place, f"@{event.author}: {no.message}")
        return step

    def _decided(
        self, event: CommentPosted, outcome: str, reason: str, message: str, command: Event | None = None,
        *, level: str = "",
    ) -> Step:  # fmt: skip
        told = f"{message} (as {level})" if level else message
        decision = Decision(
            id=event.id, about="command", outcome=outcome, reason=reason, message=told,  # type: ignore[arg-type]
            repository=event.repository, actor=event.author, at=now(),
            sha=command.sha if isinstance(command, PreviewRequested) else "",
            project=getattr(command, "project", ""), environment=getattr(command, "environment", ""),
        )  # fmt: skip
        return Step((Change(decision, 0),), (command,) if command else ())


def _age(at: str) -> float:
    """Seconds since it was received; 0.0 when that is not known."""
    if not at:
        return 0.0
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(at)).total_seconds()
