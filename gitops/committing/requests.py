"""What each kind of request does to a session: read the situation, decide, write one commit per deployment.

A refusal is a result like any other: it ends as a stored decision with its reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from msgspec.structs import replace

from gitops import projectfile
from gitops.committing import (
    decisions,
    freezing,
    going_back,
    intents,
    orphans,
    previewing,
    promoting,
    proposing,
    reconfigure,
)
from gitops.committing.absorb import FollowUp
from gitops.committing.clearance import clear
from gitops.committing.deploying import deploy, fed, not_deployed
from gitops.committing.intents import Cause, Situation
from gitops.committing.ports import Ports
from gitops.committing.session import Session, Unit
from gitops.committing.writing import (
    commit_draft,
    ordered,
)
from gitops.editing import adoption
from gitops.layout import Place, place, place_of, project_file
from pipeline import names
from pipeline.errors import Invalid, NotFound, Permanent, Refused
from pipeline.events import (
    AdoptRequested,
    CheckReported,
    Command,
    DeploymentObserved,
    DeployRequested,
    DestroyRequested,
    Event,
    FreezeRequested,
    HoldRequested,
    LinkRequested,
    PreviewChanged,
    PromotionRequested,
    PromotionReviewed,
    ProposalChanged,
    ReleaseReady,
    ResumeRequested,
    RollbackRequested,
    ServicesDeclared,
    WaitEnded,
)
from pipeline.records import Decision, Environment, Release, Repository
from pipeline.store import now


async def fulfil(session: Session, event: Event, ports: Ports) -> Unit:
    """Do what ``event`` asks. Raises Retryable when it cannot be decided now."""
    if (unit := await _between_environments(session, event, ports)) is not None:
        return unit
    if isinstance(event, ReleaseReady):
        return await _release_ready(session, event, ports)
    if isinstance(event, PreviewChanged):
        return await previewing.changed(session, event, ports)
    if isinstance(event, ServicesDeclared):
        return await orphans.declared(session, event)
    if isinstance(event, LinkRequested):
        return await _decided(session, event, _link(session, event))
    if isinstance(event, DeployRequested) and event.repository:
        return Unit()  # no release of that commit yet: the planner's, whose run ends in a release
    if isinstance(event, Command):
        return await _command(session, event, ports)
    return Unit()


async def _between_environments(session: Session, event: Event, ports: Ports) -> Unit | None:
    """Promotions, what they wait for, and what goes back as a set or by itself; None for any other event."""
    if isinstance(event, PromotionRequested):
        return await promoting.request(session, event, ports)
    if isinstance(event, RollbackRequested) and event.set:
        return await _decided(session, event, _set_back(session, event, ports))
    if isinstance(event, DeploymentObserved):
        return await going_back.observed(session, event, ports)
    if isinstance(event, PromotionReviewed):
        return await promoting.review(session, event, ports)
    if isinstance(event, ProposalChanged):
        return await proposing.changed(session, event)
    if isinstance(event, WaitEnded):
        return await promoting.due(session, event, ports)
    if isinstance(event, CheckReported):
        return await promoting.checked(session, event)
    if isinstance(event, FreezeRequested):
        return await freezing.request(session, event)
    return None


async def follow_up(session: Session, here: Place, wanted: FollowUp, ports: Ports) -> Unit:
    """Add to git what a hand-made rollback or resume leaves open."""
    commit = wanted.commit
    intent = f"{wanted.kind}/{commit.id}/{here.path}"
    if (intent, here) in session.done:
        return Unit()
    why = f"{commit.id[:12]} {commit.subject}"
    if wanted.kind == "resume":
        return await _resume(session, here, Cause(intent, "resume", commit.author, now(), why), ports)
    cause = Cause(intent, "hold-by-hand", commit.author, now(), why)
    situation = await session.situation(here)
    return await commit_draft(session, here, intents.hold(situation, cause=cause, since=wanted.since))


async def _release_ready(session: Session, event: ReleaseReady, ports: Ports) -> Unit:
    release = await session.get(Release, event.release)
    if release is None:
        raise NotFound(f"no release {event.release}", reason="unknown_release")
    if release.preview is not None:
        return await previewing.release_ready(session, event, release, release.preview, ports)
    try:
        fed = (await session.project(release.project)).fed_by(names.branch(release.ref) or "")
    except Invalid as error:
        return Unit([session.put(decisions.of_release(release, release.id, error, "refused"))])
    if not fed:
        why = Refused(f"no environment of {release.project} is fed by {release.ref}", reason="no_environment")
        return Unit([session.put(decisions.of_release(release, release.id, why, "skipped"))])
    unit = Unit()
    for environment in fed:
        unit.add(await _release_to(session, event, release, environment, ports))
    return unit


async def _release_to(
    session: Session, event: ReleaseReady, release: Release, environment: Environment, ports: Ports
) -> Unit:
    here = place(release.project, environment.name, release.service)
    decision = decisions.identity(release.id, here)
    if (event.id, here) in session.done or await session.get(Decision, decision) is not None:
        return Unit()
    cause = Cause(event.id, "push", release.actor, now(), trace=event.trace)
    mark = session.mark()
    try:
        return await deploy(session, here, release, environment, cause, ports)
    except Permanent as error:
        session.rewind(mark)
        return not_deployed(session, release, here, decision, error)


async def _command(session: Session, event: Command, ports: Ports) -> Unit:
    """A command for one service, or for each that the environment has."""
    if event.service or isinstance(event, DeployRequested):
        return await _decided(session, event, _single(session, event, event.id, event.service, ports))
    unit = Unit()
    folder = f"{names.name(event.project)}/{names.name(event.environment)}"
    services = await asyncio.to_thread(session.repo.children, session.tip, folder)
    found = [here for name in services if (here := place_of(f"{folder}/{name}")) is not None]
    if not found:
        nothing = NotFound(f"{event.project} has nothing in {event.environment}", reason="nothing_deployed")
        return Unit([session.put(decisions.refused(event, event.id, nothing))])
    for here in found:
        identity = f"{event.id}/{here.service}"
        doing = _single(session, event, identity, here.service, ports)
        unit.add(await _decided(session, event, doing, identity=identity, service=here.service))
    return unit


async def _decided(
    session: Session, event: Command | LinkRequested, doing: Awaitable[Unit], *, identity: str = "", service: str = ""
) -> Unit:
    mark = session.mark()
    try:
        return await doing
    except Permanent as error:
        session.rewind(mark)
        return Unit([session.put(decisions.refused(event, identity or event.id, error, service))])


async def _single(session: Session, event: Command, identity: str, service: str, ports: Ports) -> Unit:
    release = await _asked_release(session, event) if isinstance(event, DeployRequested) else None
    here = place(event.project, event.environment, release.service if release else service)
    if (identity, here) in session.done or await session.get(Decision, identity) is not None:
        return Unit()
    via = event.type.partition(".")[0]
    cause = Cause(identity, via, event.actor, now(), event.why, event.trace)
    if release is not None and isinstance(event, DeployRequested):
        return await _deploy_asked(session, here, release, event, cause, ports)
    if isinstance(event, AdoptRequested):
        return await adoption.fulfil(session, event)
    situation = await session.situation(here)
    if isinstance(event, RollbackRequested):
        return await going_back.roll_back(session, situation, event, cause, ports)
    if isinstance(event, HoldRequested):
        return await commit_draft(session, here, intents.hold(situation, cause=cause))
    if isinstance(event, ResumeRequested):
        return await _resume(session, here, cause, ports)
    if isinstance(event, DestroyRequested):
        return await commit_draft(session, here, intents.destroy(situation, cause=cause))
    if isinstance(event, reconfigure.KINDS):
        return await reconfigure.fulfil(session, situation, event, cause, ports)
    raise Refused(f"{event.type} is not for the committer", reason="unknown_command")


async def _asked_release(session: Session, event: DeployRequested) -> Release:
    release = await session.get(Release, event.release) if event.release else None
    if release is None or release.project != event.project or event.service not in ("", release.service):
        raise NotFound(f"{event.project} has no release {event.release or event.sha[:12]}", reason="unknown_release")
    return release


async def _deploy_asked(
    session: Session, here: Place, release: Release, event: DeployRequested, cause: Cause, ports: Ports
) -> Unit:
    project = await session.project(here.project)
    environment = next((one for one in project.environments if one.name == here.environment), None)
    if environment is None:
        raise NotFound(f"{here.project} has no environment {here.environment}", reason="unknown_environment")
    if not environment.branch:
        raise Refused(f"{here.environment} is entered by promotion: enclii promote", reason="only_by_promotion")
    if environment.branch != names.branch(release.ref) and not event.force:
        raise Refused(f"{here.environment} is fed by {environment.branch}, not by {release.ref}", reason="wrong_branch")
    frozen = await freezing.stopped(session, environment)
    if frozen is not None and not event.override_freeze:
        raise Refused(f"{here.environment} is {frozen}; add --override-freeze REASON", reason="frozen")
    situation = await orphans.marked(session, await session.situation(here), release, environment)
    if situation.hold is not None:
        raise Refused(f"{here} is held; resume it first", reason="held")
    forced = await ordered(situation, release, environment, ports, force=event.force)
    clearance = await clear(session, release, environment.branch, ports)
    override = event.override_freeze if frozen is not None else ""
    draft = intents.deploy(situation, release, cause=cause, clearance=clearance, forced=forced, override=override)
    return await commit_draft(session, here, draft)


async def _set_back(session: Session, event: RollbackRequested, ports: Ports) -> Unit:
    if await session.get(Decision, event.id) is not None:
        return Unit()
    cause = Cause(event.id, "rollback", event.actor, now(), event.why, event.trace)
    return await going_back.roll_back_set(session, event, cause, ports)


async def _resume(session: Session, here: Place, cause: Cause, ports: Ports) -> Unit:
    """Take the hold away and deploy what waited; when that may not go out, the reason stands in the message."""
    situation = await session.situation(here)
    waiting = situation.deployed().held_release
    if situation.hold is None and not waiting:
        raise Refused(f"{here} is not held", reason="not_held")
    note = ""
    if waiting:
        mark = session.mark()
        try:
            if (unit := await _resume_frozen(session, situation, waiting, cause)) is not None:
                return unit
            return await _deploy_waiting(session, situation, waiting, cause, ports)
        except Permanent as error:
            session.rewind(mark)
            note = f"; {waiting} was not deployed: {error.message}"
    if situation.hold is None:
        cleared = replace(situation.deployed(), held_release="")
        said = decisions.without_commit(here, cause, reason="resumed", message=f"{here} is not held any more{note}")
        return Unit([session.put(cleared), session.put(said)])
    unit = await commit_draft(session, here, intents.resume(situation, cause=cause))
    return _noted(session, unit, here, note)


async def _resume_frozen(session: Session, here: Situation, waiting: str, cause: Cause) -> Unit | None:
    """In a freeze the hold goes, and the release that waited for that waits for the end of the freeze."""
    environment = (await session.project(here.place.project)).environment(here.place.environment)
    frozen = await freezing.stopped(session, environment)
    release = await session.get(Release, waiting)
    if frozen is None or release is None:
        return None
    unit = await commit_draft(session, here.place, intents.resume(here, cause=cause)) if here.hold else Unit()
    target = await session.target(here.place)
    if target is not None:
        unit.changes.append(session.put(replace(target, held_release="")))
    unit.add(await freezing.push_waits(session, here.place, release, cause.intent, frozen))
    return _noted(session, unit, here.place, f"; v{release.number} waits: {here.place.environment} is {frozen}")


async def _deploy_waiting(session: Session, here: Situation, waiting: str, cause: Cause, ports: Ports) -> Unit:
    release = await session.get(Release, waiting)
    if release is None:
        raise NotFound(f"no release {waiting}", reason="unknown_release")
    project = await session.project(here.place.project)
    unprotected = Environment(name=here.place.environment, branch="")
    environment = next((one for one in project.environments if one.name == here.place.environment), unprotected)
    if environment is not unprotected:
        fed(environment, release)
    here = await orphans.marked(session, here, release, environment)
    forced = await ordered(here, release, environment, ports, force=False)
    clearance = await clear(session, release, environment.branch or names.branch(release.ref) or "", ports)
    draft = intents.deploy(here, release, cause=cause, clearance=clearance, forced=forced)
    return await commit_draft(session, here.place, draft)


def _noted(session: Session, unit: Unit, here: Place, note: str) -> Unit:
    for change in list(unit.changes):
        if isinstance(change.record, Decision) and note:
            unit.changes.append(session.put(replace(change.record, message=change.record.message + note)))
    return unit


async def _link(session: Session, event: LinkRequested) -> Unit:
    if (event.id, None) in session.done or await session.get(Decision, event.id) is not None:
        return Unit()
    path = project_file(event.project)
    taken = await session.get(Repository, event.repository)
    if taken is not None and taken.project not in ("", event.project):
        raise Refused(f"{event.repository} belongs to the project {taken.project}", reason="repository_taken")
    data = await asyncio.to_thread(session.repo.read, session.tip, path) if session.tip else None
    cause = Cause(event.id, "link", event.actor, now(), trace=event.trace)
    draft = intents.link(event, data, cause=cause)
    said = decisions.linked(event)
    if draft is None:
        return Unit([session.put(said)])
    commit, *_ = await session.write(draft)
    written = await asyncio.to_thread(session.repo.read, commit.id, path)
    parsed = projectfile.parse(written or b"", project=event.project)
    unit = await session.project_unit(event.project, parsed, at=commit.at)
    unit.changes.append(session.put(said))
    return unit
