"""Rollbacks: of one service, of a promoted set, and by themselves where the environment asks for it.

Each is one commit that brings back directories as they were and holds them. No freeze and no gate but the stored
verdict stands in the way.
"""

from __future__ import annotations

import asyncio
import datetime

from msgspec.structs import replace

from gitops import secret_versions
from gitops.committing import history, intents, writing
from gitops.committing.clearance import clear
from gitops.committing.edits import Draft
from gitops.committing.intents import Cause, Situation
from gitops.committing.ports import Ports
from gitops.committing.session import Session, Unit
from gitops.layout import Place, place
from gitops.rules import automatic, sets
from pipeline import names
from pipeline.errors import NotFound, Permanent, Refused, Retryable
from pipeline.events import DeploymentObserved, RollbackRequested, WaitEnded
from pipeline.promotions import Promotion
from pipeline.records import Decision, Deployment, Release, Target
from pipeline.store import now

ACTOR = "Enclii"


async def roll_back(session: Session, here: Situation, event: RollbackRequested, cause: Cause, ports: Ports) -> Unit:
    """One service, to where the command says. Raises Permanent."""
    here.expect(event.expected)
    draft = await _back(session, here, cause, ports, to=event.to, hold=event.hold)
    return await writing.commit_draft(session, here.place, draft)


async def roll_back_set(session: Session, event: RollbackRequested, cause: Cause, ports: Ports) -> Unit:
    """All that a promotion brought, in one commit. Raises Permanent."""
    found = await session.get(Promotion, event.set)
    if found is None or (found.project, found.environment) != (event.project, event.environment):
        raise NotFound(f"no set {event.set[:60]!r} in {event.environment}", reason="unknown_promotion")
    done = [await session.get(Decision, sets.member_intent(event.id, one.service)) for one in found.members]
    # A commit that was pushed by a process that died is known by its decisions on each service.
    unit = Unit() if any(done) else await _set_back(session, found, cause, ports, hold=event.hold)
    said = f"{', '.join(member.service for member in found.members)} went back together"
    answer = Decision(
        id=event.id, about="command", outcome="accepted", reason="rolled_back", message=said, project=event.project,
        environment=event.environment, actor=event.actor, at=now(),
    )  # fmt: skip
    unit.changes.append(session.put(answer))
    return unit


async def observed(session: Session, event: DeploymentObserved, ports: Ports) -> Unit:
    """A deployment was seen to fail: take it back where the environment asks for that, once.

    Raises Retryable while it may still get well by itself.
    """
    identity = f"automatic/{event.deployment}"
    deployment = await session.get(Deployment, event.deployment)
    here = place(event.project, event.environment, event.service)
    target = await session.target(here)
    if deployment is None or target is None or await session.get(Decision, identity) is not None:
        return Unit()
    unit = await _doubted(session, event) if event.status == "failed" else Unit()
    environment = (await session.project(event.project)).environment(event.environment)
    answer = automatic.answer(
        environment.rollback if environment else None, deployment, target,
        seen_at=datetime.datetime.fromisoformat(event.at), now=datetime.datetime.now(datetime.UTC),
    )  # fmt: skip
    if answer.kind == "wait":
        raise Retryable(answer.message, reason=answer.reason, delay=answer.delay)
    if answer.kind == "skip":
        unit.changes.append(session.put(_left(event, deployment, identity, answer.reason, answer.message)))
    if answer.kind == "go":
        unit.add(await _by_itself(session, event, deployment, identity, ports))
    return unit


async def _by_itself(
    session: Session, event: DeploymentObserved, deployment: Deployment, identity: str, ports: Ports
) -> Unit:
    here = place(event.project, event.environment, event.service)
    why = event.reason or deployment.reason or event.status
    cause = Cause(identity, "rollback", ACTOR, now(), f"{event.service} {event.status}: {why}", event.trace)
    mark = session.mark()
    try:
        found = await session.get(Promotion, deployment.set) if deployment.set else None
        if found is not None and len(found.members) > 1 and await _stands(session, found):
            unit = await _set_back(session, found, cause, ports, hold=True, automatic=why)
            said = _left(event, deployment, identity, "rolled_back_automatically", f"its set went back: {why}")
            unit.changes.append(session.put(replace(said, outcome="accepted")))
            return unit
        draft = await _back(session, await session.situation(here), cause, ports, hold=True, automatic=why)
        return await writing.commit_draft(session, here, draft)
    except Permanent as error:
        session.rewind(mark)
        return Unit([session.put(_left(event, deployment, identity, error.reason, error.message))])


async def _back(
    session: Session, here: Situation, cause: Cause, ports: Ports, *, to: int = 0, hold: bool, automatic: str = ""
) -> Draft:
    current = here.deployed()
    deployments = await session.deployments(here.place)
    goal = history.rollback_target(deployments, current=current, to=to)
    release = await session.get(Release, goal.release) if goal.release else None
    if release is not None:
        # What passed before keeps its verdict and its summary, so this needs no registry.
        await clear(session, release, names.branch(release.ref) or "", ports)
    tree = await asyncio.to_thread(session.repo.tree, goal.config_commit, here.place.path)
    if not tree:
        raise Refused(f"{goal.config_commit[:12]} has no {here.place}", reason="config_commit_missing")
    undone = history.undone(deployments, target=goal, current=current)
    former = await session.former(here, goal.config_commit)
    if gone := secret_versions.forgotten(goal, former.owned, target=current, deployments=deployments):
        raise _forgotten(goal, gone)
    return intents.roll_back(
        here, goal, tree=tree, former=former, undone=undone, cause=cause, hold=hold, automatic=automatic
    )


def _forgotten(goal: Deployment, gone: dict[str, int]) -> Refused:
    listed = ", ".join(f"{name} v{number}" for name, number in gone.items())
    return Refused(
        f"{goal.release.rpartition('.')[2]} ran with {listed}, which the cluster does not keep any more: only what the"
        f" last {secret_versions.KEPT_DEPLOYMENTS} deployments name is. Go back to a later release, or push a commit"
        " that reverts to this one: it runs with today's secrets",
        reason="secret_version_gone",
    )


async def _set_back(
    session: Session, found: Promotion, cause: Cause, ports: Ports, *, hold: bool, automatic: str = ""
) -> Unit:
    """A service that the set was the first to bring goes again, as a revert would have it."""
    if not await _stands(session, found):
        raise Refused(f"{found.id} is not what is deployed any more; roll back its services", reason="set_moved_on")
    drafts: dict[Place, Draft] = {}
    for member in found.members:
        here = place(found.project, found.environment, member.service)
        target = await session.target(here)
        if target is None or target.release != member.release:
            continue
        situation = await session.situation(here)
        if await _is_first(session, here, target):
            drafts[here] = intents.destroy(situation, cause=cause)
        else:
            drafts[here] = await _back(session, situation, cause, ports, hold=hold, automatic=automatic)
    services = sets.listed([here.service for here in drafts])
    subject = f"Revert {found.project}/{services} in {found.environment} to before {found.id}"
    draft = sets.joined(drafts, subject, cause, {"Reverted": found.id, "Automatic": automatic})
    _, unit = await writing.commit_set(session, draft)
    return unit


async def _is_first(session: Session, here: Place, target: Target) -> bool:
    earlier = [one for one in await session.deployments(here) if one.config_commit and one.id != target.deployment]
    return not earlier


async def _stands(session: Session, found: Promotion) -> bool:
    """True while what the set brought is what is wanted."""
    for member in found.members:
        target = await session.target(place(found.project, found.environment, member.service))
        if target is None or target.release != member.release:
            return False
    return True


async def _doubted(session: Session, event: DeploymentObserved) -> Unit:
    """What waits to be promoted from where the release failed is decided again."""
    unit = Unit()
    for one in await session.promotions():
        here = (one.project, one.source) == (event.project, event.environment)
        if here and any(member.service == event.service for member in one.members):
            unit.events.append(WaitEnded(id=f"{one.id}/{event.id}", at=now(), promotion=one.id))
    return unit


def _left(event: DeploymentObserved, deployment: Deployment, identity: str, reason: str, message: str) -> Decision:
    return Decision(
        id=identity, about="release", outcome="skipped", reason=reason,
        message=f"not rolled back automatically: {message}" if reason != "rolled_back_automatically" else message,
        project=event.project, environment=event.environment, service=event.service, sha=deployment.sha,
        release=deployment.release, actor=ACTOR, at=now(),
    )  # fmt: skip
