"""Previews: from what is said of pull requests and asked by people to previews that are built, extended or removed.

A preview is wanted or it is not; that is decided here alone, under its record's sequence. What follows is done by
those who do it for every release: builder, signer, committer, syncer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from pipeline import previews
from pipeline.errors import EncliiError, NotFound, Permanent, Refused
from pipeline.events import Event, PreviewChanged, PreviewRequested, PullRequestChanged
from pipeline.origin import linked, numbered
from pipeline.preview_events import PreviewFact
from pipeline.preview_life import Limits, counted, due, full, later, older
from pipeline.previews import GONE, Preview, PreviewRef, PreviewRules, PullRequest
from pipeline.records import Decision, Outcome, Project, Repository
from pipeline.stages.preview_plan import Plan
from pipeline.store import Change, Step, Store, Stored, now


@dataclass(frozen=True)
class Wanted:
    """What is to be previewed, as its source says now."""

    repository: Repository
    origin: str  # what the preview's record calls it: by number where that is known
    number: int
    branch: str
    head: str
    base: str = ""
    fork: bool = False
    draft: bool = False
    author: str = ""


class Planning(Protocol):
    """What is asked of the sources."""

    async def head(self, repository: Repository, branch: str) -> str:
        """The branch's head. Raises NotFound, Unavailable."""
        ...

    async def plan(self, preview: Preview, repository: Repository, *, base: str, asked: Event) -> Plan:
        """What starts the builds of the preview's head. Raises Permanent, Unavailable."""
        ...


@dataclass(frozen=True)
class Previews:
    """The stage with its ports."""

    store: Store
    planner: Planning
    limits: Limits

    async def handle(self, event: Event) -> Step:
        """Answer one event; an empty step when it was answered or changes nothing."""
        if isinstance(event, PullRequestChanged):
            return await self._pull_request(event)
        assert isinstance(event, PreviewRequested)
        if await self.store.get(Decision, event.id) is not None:
            return Step()
        return await self._asked(event)

    async def failed(self, event: Event, error: Exception) -> Step:
        """The refusal of a request, or of what a pull request would have got."""
        reason, message = (error.reason, error.message) if isinstance(error, EncliiError) else ("unexpected", "")
        outcome: Outcome = "refused" if isinstance(error, Permanent) else "failed"
        if isinstance(event, PreviewRequested):
            said = Step((Change(_decision(event, outcome, reason, message), None),))
            if event.verb != "push":
                return said
            event = replace(event, repository=await self._named(event))
        else:
            assert isinstance(event, PullRequestChanged)
            noted = await self._noted(event)  # the head is the head, though it cannot be built
            if noted is None:
                return Step()
            said = noted
        found = await self._preview(event.repository, event.number, getattr(event, "branch", ""))
        if found is None or found.record.state in GONE:
            return said
        head = (event.head if isinstance(event, PullRequestChanged) else event.sha) or found.record.newest
        failed = replace(found.record, state="failed", reason=reason, message=message, head=head)
        return _joined(said, self._moved(found, failed, "failed"), _awake(found, failed))

    # -- what a forge says

    async def _pull_request(self, event: PullRequestChanged) -> Step:
        """A later word of the forge counts; a close counts whatever else has changed."""
        noted = await self._noted(event)
        if noted is None:
            return Step()
        record = noted.changes[0].record
        assert isinstance(record, PullRequest)
        found = await self._preview(event.repository, event.number, "")
        return _joined(noted, await self._followed(event, record, found))

    async def _noted(self, event: PullRequestChanged) -> Step | None:
        """How the pull request stands now; None for a word from before the last one."""
        known = await self.store.get(PullRequest, event.repository, str(event.number))
        if known is not None and older(event.updated_at, known.record.updated_at):
            return None
        record = PullRequest(
            repository=event.repository, number=event.number, state=event.state, head=event.head,
            head_ref=event.head_ref, base=event.base, fork=event.fork or not event.head_repository,
            draft=event.draft, author=event.author, updated_at=event.updated_at,
            head_at=(known and known.record.head == event.head and known.record.head_at) or event.updated_at,
        )  # fmt: skip
        return Step((Change(record, known.seq if known else 0),))

    async def _followed(self, event: PullRequestChanged, now_: PullRequest, found: Stored[Preview] | None) -> Step:
        there = found is not None and found.record.state not in GONE
        if found is not None and there and (now_.state == "closed" or event.action == "moved"):
            moved = event.action == "moved"
            return self._removing(found, "moved" if moved else "closed", f"the pull request was {event.action}")
        repository = await linked(self.store, event.repository)
        if repository is None or now_.state == "closed":
            return Step()
        wanted = _wanted(repository, now_)
        if found is not None and there:
            return await self._pushed(found, wanted, event)
        if found is not None and found.record.state == "removing":
            # It has to be gone first. Written again, so that who ends it at this moment has to look anew.
            return Step((Change(found.record, found.seq),))
        rules = await self._rules(repository.project)
        if rules.enabled and rules.automatic and not now_.draft:
            return await self._begin(found, wanted, event, actor=event.author)
        return Step()

    # -- what people ask

    async def _asked(self, event: PreviewRequested) -> Step:
        repository = await linked(self.store, event.repository)
        if repository is None or repository.project != event.project:
            raise NotFound(f"{event.project} has no repository {event.repository}", reason="repository_unknown")
        event = replace(event, repository=await self._named(event))
        found = await self._preview(event.repository, event.number, event.branch)
        there = found if found is not None and found.record.state not in GONE else None
        if event.verb in ("up", "approve", "restart"):
            step = await self._up(event, repository, found, there)
        elif there is None:
            step = self._absent(event)
        elif event.verb == "down":
            step = self._removing(there, "asked", event.why or f"by {event.actor}")
        elif event.verb == "push":
            wanted = await self._now(repository, event)
            step = await self._pushed(there, wanted, event)
        elif event.verb == "extend":
            step = self._extended(there, event)
        else:
            step = self._woken(there)
        return _joined(step, Step((Change(_decision(event, "accepted", f"preview_{event.verb}", ""), None),)))

    async def _named(self, event: PreviewRequested) -> str:
        """What the preview's record calls the repository that somebody named."""
        if event.number:
            return await numbered(self.store, event.repository)
        known = await linked(self.store, event.repository)
        return known.id if known else event.repository

    def _absent(self, event: PreviewRequested) -> Step:
        if event.verb in ("down", "push", "wake", "sweep"):
            return Step()
        raise NotFound("there is no preview of it: /preview up", reason="no_preview")

    async def _up(
        self, event: PreviewRequested, repository: Repository, found: Stored[Preview] | None,
        there: Stored[Preview] | None,
    ) -> Step:  # fmt: skip
        rules = await self._rules(repository.project)
        if not rules.enabled:
            raise Refused("previews are switched off in project.yaml", reason="previews_disabled")
        wanted = await self._now(repository, event)
        if event.sha and event.sha != wanted.head:
            stale = "stale_sha" if event.verb == "approve" else "ref_changed"
            raise Refused("there is a newer head: look at it, then say it again", reason=stale)
        if event.verb == "approve" and not event.sha:
            raise Refused("approve names the whole commit", reason="short_sha")
        approved = event.sha if event.verb == "approve" else there.record.approved if there else ""
        if wanted.fork and approved != wanted.head:
            raise Refused(
                f"from a fork: somebody with the right reads it and says /preview approve {wanted.head}",
                reason="approval_needed",
            )
        if found is not None and found.record.state == "removing":
            raise Refused("its last one is being removed; say it again in a moment", reason="being_removed")
        return await self._begin(found, wanted, event, actor=event.actor, approved=approved)

    async def _now(self, repository: Repository, event: PreviewRequested) -> Wanted:
        """The head as it is now. Raises NotFound for a pull request nobody heard of, Refused for a closed one."""
        if not event.number:
            return Wanted(
                repository, event.repository, 0, event.branch, await self.planner.head(repository, event.branch)
            )
        found = await self.store.get(PullRequest, event.repository, str(event.number))
        if found is None:
            raise NotFound(f"nothing is known of pull request {event.number}", reason="unknown_pull_request")
        if found.record.state == "closed":
            raise Refused("the pull request is closed", reason="pull_request_closed")
        return _wanted(repository, found.record)

    # -- what a preview becomes

    async def _begin(
        self, found: Stored[Preview] | None, wanted: Wanted, event: Event, *, actor: str, approved: str = ""
    ) -> Step:
        """A new life, or the next build of this one."""
        there = found.record if found is not None and found.record.state not in GONE else None
        preview = there or await self._fresh(wanted, actor)
        rules = await self._rules(preview.project)
        asked = event if isinstance(event, PreviewRequested) else None
        chosen = asked.services if asked and asked.verb == "up" and asked.services else preview.chosen
        idle = (asked.seconds if asked and asked.verb == "up" else 0.0) or preview.idle or rules.idle
        preview = replace(
            preview, chosen=chosen, idle=idle or self.limits.idle, approved=approved or preview.approved,
            approved_by=actor if approved else preview.approved_by, warned_at="", active_at=now(),
        )  # fmt: skip
        seen = Stored(preview, found.seq if found else 0)
        if wanted.fork and preview.approved != wanted.head:
            return self._waits(seen, wanted, "approval_needed", f"/preview approve {wanted.head}")
        placed = there is not None and counted(there)
        if not placed and full(preview, await self.store.all(Preview), self.limits, rules.cap):
            return self._waits(seen, wanted, "cap", "as many previews are open as may be; it begins when one ends")
        return await self._build(seen, wanted, event, fact="building" if there else "created")

    async def _fresh(self, wanted: Wanted, actor: str) -> Preview:
        rules = await self._rules(wanted.repository.project)
        others = [one for one in await self.store.all(Preview) if one.state != "removed"]
        ref = replace(named(wanted, rules.domain or self.limits.domain, others), internet=rules.internet)
        return Preview(
            id=f"{wanted.repository.project}.{ref.environment}", project=wanted.repository.project,
            repository=wanted.origin, number=wanted.number, branch=wanted.branch, environment=ref.environment,
            ref=ref, state="building", fork=wanted.fork, draft=wanted.draft, author=wanted.author, by=actor,
            created_at=now(),
        )  # fmt: skip

    async def _pushed(self, found: Stored[Preview], wanted: Wanted, event: Event) -> Step:
        """Another head; of a fork it has to be read again, while what was approved keeps running."""
        if wanted.head == found.record.newest and found.record.state != "waiting":
            return Step()
        active = Stored(replace(found.record, active_at=now(), warned_at="", draft=wanted.draft), found.seq)
        if found.record.fork or wanted.fork:
            if found.record.approved == wanted.head:
                back = found.record.reason == "approval_needed"
                return await self._build(active, wanted, event, fact="building") if back else Step()
            return self._waits(active, wanted, "approval_needed", f"/preview approve {wanted.head}")
        if found.record.state == "waiting" and found.record.reason == "cap":
            return self._waits(active, wanted, "cap", found.record.message)
        return await self._build(active, wanted, event, fact="building")

    async def started(self, found: Stored[Preview], event: Event) -> Step:
        """The build of a preview that waited for its turn. Raises as ``handle`` does."""
        repository = await linked(self.store, found.record.repository)
        if repository is None:
            return self._removing(found, "repository_gone", "its repository is not registered any more")
        asked = PreviewRequested(
            id=event.id, verb="up", project=found.record.project, repository=found.record.repository,
            number=found.record.number, branch=found.record.branch,
        )  # fmt: skip
        return await self._build(found, await self._now(repository, asked), event, fact="created")

    async def _build(self, found: Stored[Preview], wanted: Wanted, event: Event, *, fact: PreviewFact) -> Step:
        assert found.record.ref is not None
        ref = replace(found.record.ref, fork=wanted.fork)
        preview = replace(found.record, sha=wanted.head, head="", fork=wanted.fork, ref=ref)
        plan = await self.planner.plan(preview, wanted.repository, base=wanted.base, asked=event)
        preview = replace(
            preview, state="building", reason="", message="", run=plan.run.id, services=plan.services,
            omitted=plan.omitted,
        )  # fmt: skip
        preview = later(preview, self.limits)
        return _joined(self._moved(Stored(preview, found.seq), preview, fact), Step(plan.changes, plan.events))

    def _waits(self, found: Stored[Preview], wanted: Wanted, reason: str, message: str) -> Step:
        waits = replace(found.record, state="waiting", reason=reason, message=message, fork=wanted.fork)
        waits = replace(waits, head=wanted.head) if waits.services else replace(waits, sha=wanted.head)
        return _joined(self._moved(found, later(waits, self.limits), "waiting"), _awake(found, waits))

    def _extended(self, found: Stored[Preview], event: PreviewRequested) -> Step:
        until = due(now(), event.seconds)
        longer = replace(found.record, active_at=now(), warned_at="", pinned_until=until)
        return Step((Change(later(longer, self.limits), found.seq),))

    def _woken(self, found: Stored[Preview]) -> Step:
        active = later(replace(found.record, active_at=now(), warned_at=""), self.limits)
        if found.record.state == "asleep":
            return self._moved(found, replace(active, state="building", reason="waking"), "woken")
        return Step((Change(active, found.seq),))

    async def reopened(self, one: Preview) -> tuple[Event, ...]:
        """That its pull request is open again, for a preview that ended because it was closed."""
        found = await self.store.get(PullRequest, one.repository, str(one.number)) if one.number else None
        if found is None or found.record.state == "closed" or one.reason != "closed":
            return ()
        pull = found.record
        event = PullRequestChanged(
            id=f"{one.id}/{one.created_at}/again", at=now(), forge=one.repository.partition(":")[0],
            repository=pull.repository, number=pull.number, action="read", state=pull.state, head=pull.head,
            head_ref=pull.head_ref, head_repository="" if pull.fork else pull.repository, base=pull.base,
            fork=pull.fork, draft=pull.draft, author=pull.author, updated_at=pull.updated_at,
        )  # fmt: skip
        return (event,)

    def removing(self, found: Stored[Preview], reason: str, message: str) -> Step:
        """The end of a preview begins: one commit takes it out of git, and the rest follows."""
        return self._removing(found, reason, message)

    def _removing(self, found: Stored[Preview], reason: str, message: str) -> Step:
        gone = replace(found.record, state="removing", reason=reason, message=message)
        return self._moved(found, gone, "removing")

    def _moved(self, found: Stored[Preview], preview: Preview, fact: PreviewFact) -> Step:
        return Step((Change(preview, found.seq),), (changed(preview, fact),))

    async def _preview(self, repository: str, number: int, branch: str) -> Stored[Preview] | None:
        return await self.store.get(Preview, *previews.key_of(repository, number, branch))

    async def _rules(self, project: str) -> PreviewRules:
        found = await self.store.get(Project, project)
        return found.record.previews if found else PreviewRules()


def _awake(found: Stored[Preview], preview: Preview) -> Step:
    """That its containers come again where it slept: in another state it would not hear who wakes it."""
    return Step((), (changed(preview, "woken"),)) if found.record.state == "asleep" else Step()


def changed(preview: Preview, fact: PreviewFact) -> PreviewChanged:
    """The event that says so, once for each moment."""
    at = now()
    return PreviewChanged(
        id=f"{preview.id}/{at}/{fact}", at=at, fact=fact, preview=preview.id, project=preview.project,
        environment=preview.environment, repository=preview.repository, number=preview.number, branch=preview.branch,
        sha=preview.sha, reason=preview.reason, message=preview.message,
    )  # fmt: skip


def named(wanted: Wanted, domain: str, others: Sequence[Preview]) -> PreviewRef:
    """How a new preview is called, such that no other one is called the same."""
    environment = previews.environment_of(wanted.number, wanted.branch)
    label = previews.labelled(wanted.number, wanted.branch)
    own = previews.key_of(wanted.origin, wanted.number, wanted.branch)
    rest = [one for one in others if one.key != own]
    mark = previews.mark_of(own)
    if any((one.project, one.environment) == (wanted.repository.project, environment) for one in rest):
        environment = f"{environment[:34].rstrip('-')}-{mark}"
    same = [one.ref for one in rest if one.ref and one.ref.domain == domain and _alike(one.ref.label, label)]
    return PreviewRef(
        environment=environment, repository=wanted.origin, number=wanted.number, branch=wanted.branch, label=label,
        domain=domain, suffix=f"-{mark}" if any(not one.suffix for one in same) else "", fork=wanted.fork,
    )  # fmt: skip


def _alike(one: str, other: str) -> bool:
    """Whether a service's name behind the one could make what stands behind the other: ``a-b`` + ``c``, ``a`` + …"""
    return f"{one}-".startswith(f"{other}-") or f"{other}-".startswith(f"{one}-")


def _wanted(repository: Repository, found: PullRequest) -> Wanted:
    return Wanted(
        repository, found.repository, found.number, "", found.head, base=found.base, fork=found.fork, draft=found.draft,
        author=found.author,
    )  # fmt: skip


def _decision(event: PreviewRequested, outcome: Outcome, reason: str, message: str) -> Decision:
    return Decision(
        id=event.id, about="command", outcome=outcome, reason=reason, message=message, project=event.project,
        repository=event.repository, ref=event.branch, sha=event.sha, actor=event.actor, at=now(),
    )  # fmt: skip


def _joined(*steps: Step) -> Step:
    return Step(tuple(c for one in steps for c in one.changes), tuple(e for one in steps for e in one.events))
