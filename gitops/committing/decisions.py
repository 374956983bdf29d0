"""How each thing that the committer met ended, and why: the one place that writes its decisions.

Pure functions: of a release, of a command, of a commit of Enclii's own, and of a commit by another hand.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from gitops.committing.edits import Commit
from gitops.committing.intents import Cause
from gitops.committing.snapshot import Snapshot
from gitops.layout import Place
from pipeline.errors import EncliiError, Permanent
from pipeline.events import Command, LinkRequested, ServicesDeclared
from pipeline.records import Decision, Outcome, Release
from pipeline.store import now

_SAYS = {
    "promotion": "promoted",
    "secret": "secret_changed",
    "scale": "scaled",
    "restart": "restarted",
    "rollback": "rolled_back",
    "hold": "held",
    "resume": "resumed",
    "destroy": "destroyed",
    "adopt": "adopted",
    "hold-by-hand": "held_after_revert",
    "link": "linked",
    "orphan": "orphaned",
    "unorphan": "declared_again",
}
_UNASKED = frozenset({"hold-by-hand", "orphan", "unorphan"})
"""What Enclii commits without a command."""
_BY_HAND = {
    "rollback": "rolled_back_by_hand",
    "resume": "resumed_by_hand",
    "removal": "removed_by_hand",
    "held": "held_by_hand",
}


def identity(release: str, place: Place) -> str:
    """The id of the decision on a release, which differs by environment and by that alone."""
    return f"{release}/{place.environment}"


def of_release(
    release: Release, identity: str, error: Permanent, outcome: Outcome, here: Place | None = None
) -> Decision:
    """How a release ended in an environment, or altogether."""
    return Decision(
        id=identity, about="release", outcome=outcome, reason=error.reason, message=error.message,
        project=release.project, environment=here.environment if here else "", service=release.service,
        repository=release.repository, ref=release.ref, sha=release.sha, run=release.run, release=release.id,
        actor=release.actor, at=now(),
    )  # fmt: skip


def refused(event: Command | LinkRequested, identity: str, error: Permanent, service: str = "") -> Decision:
    """That a command was refused, and why; one that was obeyed is told by the commit that it made."""
    command = event if isinstance(event, Command) else None
    return Decision(
        id=identity, about="command", outcome="refused", reason=error.reason, message=error.message,
        project=event.project, environment=command.environment if command else "",
        service=service or (command.service if command else ""),
        repository=event.repository if isinstance(event, LinkRequested) else "", actor=event.actor, at=now(),
    )  # fmt: skip


def not_marked(event: ServicesDeclared, here: Place, error: Permanent) -> Decision:
    """That a service which vanished from ``enclii.yaml``, or came back, could not be marked so, and why."""
    return Decision(
        id=f"{event.id}/{here.path}", about="commit", outcome="refused", reason=error.reason, message=error.message,
        project=here.project, environment=here.environment, service=here.service, repository=event.repository,
        ref=event.ref, sha=event.sha, actor=event.actor, at=now(),
    )  # fmt: skip


def linked(event: LinkRequested) -> Decision:
    """That a repository belongs to its project, by a commit of now or of before."""
    return Decision(
        id=event.id, about="command", outcome="accepted", reason="linked",
        message=f"{event.name} is linked to {event.project}", project=event.project, repository=event.repository,
        actor=event.actor, at=now(),
    )  # fmt: skip


def without_commit(here: Place, cause: Cause, *, reason: str, message: str) -> Decision:
    """That what was asked for is so, though git had nothing to change."""
    return Decision(
        id=cause.intent, about="command", outcome="accepted", reason=reason, message=message, project=here.project,
        environment=here.environment, service=here.service, actor=cause.actor, at=now(),
    )  # fmt: skip


def of_own(commit: Commit, place: Place) -> Decision:
    """How what a commit of Enclii's own did at one place was decided; its trailers say all."""
    said = commit.trailers
    via = said.get("Via", "")
    pushed, forced = via == "push", "Forced" in said
    return Decision(
        id=identity(said.get("Release", ""), place) if pushed else said["Intent"],
        about="release" if pushed else "commit" if via in _UNASKED else "command",
        outcome="forced" if forced else "accepted", reason="diverged" if forced else spoken(said),
        message=summary(commit), project=place.project, environment=place.environment, service=place.service,
        sha=said.get("Commit", ""), run=said.get("Run", ""), release=said.get("Left") or said.get("Release", ""),
        actor=commit.author, at=commit.at, config_commit=commit.id,
    )  # fmt: skip


def spoken(said: Mapping[str, str]) -> str:
    """What a commit of Enclii's own did, as a decision's reason."""
    return "rolled_back_automatically" if "Automatic" in said else _SAYS.get(said.get("Via", ""), "deployed")


def summary(commit: Commit) -> str:
    """What a commit of Enclii's own did, for people, with what made it an exception."""
    said = commit.trailers
    notes = [f"automatically: {said['Automatic']}"] if "Automatic" in said else []
    notes += [f"the freeze was overridden: {said['Override']}"] if "Override" in said else []
    return "; ".join([commit.subject, *notes])


def of_foreign(commit: Commit, place: Place, kind: str, after: Snapshot) -> Decision:
    """What a commit by another hand did at one place, as history.classify said."""
    here = _by_hand(commit, place.path, _BY_HAND.get(kind, "edited_by_hand"), commit.subject, place.project)
    at = {"environment": place.environment, "service": place.service}
    return replace(here, **at, sha=after.sha, release=after.release)


def unreadable(commit: Commit, place: Place, error: EncliiError) -> Decision:
    """A directory that a person broke: it alone fails, with its reason."""
    told = of_foreign(commit, place, "edit", Snapshot())
    return replace(told, outcome="failed", reason=error.reason, message=f"{place.path}: {error.message}")


def of_project(commit: Commit, slug: str) -> Decision:
    """That a person edited a project's rules, and that they are in force."""
    return _by_hand(commit, slug[:60], "edited_by_hand", commit.subject, slug[:60])


def broken_project(commit: Commit, slug: str, error: EncliiError) -> Decision:
    """That nobody can read a project's rules, so that those of before stay."""
    return replace(of_project(commit, slug), outcome="failed", reason=error.reason, message=error.message)


def rewritten(commit: Commit, since: str) -> Decision:
    """That what was derived last is no part of the config branch any more."""
    text = f"the config branch was rewritten by force: {since[:12]} is no longer part of it"
    return _by_hand(commit, "rewritten", "config_rewritten", text, "")


def _by_hand(commit: Commit, what: str, reason: str, message: str, project: str) -> Decision:
    return Decision(
        id=f"{commit.id}/{what}", about="commit", outcome="accepted", reason=reason, message=message, project=project,
        actor=commit.author, at=commit.at,
    )  # fmt: skip
