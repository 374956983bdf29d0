"""What every request does in the end: compare, write one commit, and say how it ended."""

from __future__ import annotations

from gitops import derive, history, order
from gitops.edits import Draft
from gitops.intents import Situation
from gitops.layout import Place
from gitops.ports import Ports
from gitops.session import Session, Unit
from pipeline.errors import Permanent
from pipeline.events import Command, LinkRequested
from pipeline.records import Decision, Environment, Outcome, Release
from pipeline.store import now


async def ordered(here: Situation, release: Release, environment: Environment, ports: Ports, *, force: bool) -> bool:
    """True when the release goes out though it does not descend from what is deployed. Raises Refused."""
    stands = await order.compare(ports.is_descendant, release, here.target)
    if stands == "same" and here.target and release.number < history.release_number(here.target.release):
        stands = "older"
    return order.forced(stands, environment=environment, force=force, release=release)


async def commit_draft(session: Session, here: Place, draft: Draft) -> Unit:
    """Write the draft and return the records that follow. Raises Refused when nothing would change."""
    before = await session.target(here)
    written, tree, hold = await session.write(draft)
    derived = derive.of_own(written, here, before=before, tree=tree, hold=hold)
    return await session.apply(derived, here, fresh=True)


def release_decision(
    release: Release, identity: str, error: Permanent, outcome: Outcome, here: Place | None = None
) -> Decision:
    """How a release ended in an environment, or altogether."""
    return Decision(
        id=identity,
        about="release",
        outcome=outcome,
        reason=error.reason,
        message=error.message,
        project=release.project,
        environment=here.environment if here else "",
        service=release.service,
        repository=release.repository,
        ref=release.ref,
        sha=release.sha,
        run=release.run,
        release=release.id,
        actor=release.actor,
        at=now(),
    )


def command_decision(
    event: Command | LinkRequested, identity: str, error: Permanent | None, service: str = ""
) -> Decision:
    """How a command ended; with no error it was a link."""
    command = event if isinstance(event, Command) else None
    return Decision(
        id=identity,
        about="command",
        outcome="refused" if error else "accepted",
        reason=error.reason if error else "linked",
        message=error.message if error else f"{getattr(event, 'name', '')} is linked to {event.project}",
        project=event.project,
        environment=command.environment if command else "",
        service=service or (command.service if command else ""),
        repository=event.repository if isinstance(event, LinkRequested) else "",
        actor=event.actor,
        at=now(),
    )
