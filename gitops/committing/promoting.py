"""What a promotion does to a session: asked for, approved, decided again when what it waits for may be there, done.

All of it ends in ``_carried``: the gates are asked, and then it waits, becomes a branch to be merged, or one commit for
its whole set. So a promotion that is decided twice is done once.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from gitops.committing import decisions, freezing, intents, proposing, writing
from gitops.committing.clearance import clear
from gitops.committing.deploying import deploy
from gitops.committing.edits import Commit, Draft
from gitops.committing.intents import Cause
from gitops.committing.ports import Ports
from gitops.committing.session import Session, Unit
from gitops.layout import Place, place
from gitops.rules import promotion, sets
from gitops.rules.promotion import Facts, Source, Standing
from pipeline import names
from pipeline.errors import NotFound, Permanent, Refused
from pipeline.events import CheckReported, PromotionRequested, PromotionReviewed, WaitEnded
from pipeline.promotions import OPEN, Approval, Check, CheckState, Member, Promotion
from pipeline.records import Decision, Deployment, Environment, Live, Observer, Outcome, Release
from pipeline.store import now

Roles = Mapping[str, Sequence[str]]


async def request(session: Session, event: PromotionRequested, ports: Ports) -> Unit:
    """Promote what the source environment has, or let it wait for what is missing."""
    if await session.get(Decision, event.id) is not None:
        return Unit()
    mark = session.mark()
    try:
        asked = await _asked(session, event)
        await session.get(Promotion, asked.id)
        unit = await _carried(session, asked, ports)
        for older in await session.promotions():
            if promotion.superseded(older, asked) and not older.pushed:
                unit.add(freezing.superseded(session, older, asked.id))
        return unit
    except Permanent as error:
        session.rewind(mark)
        return Unit([session.put(decisions.refused(event, event.id, error))])


async def review(session: Session, event: PromotionReviewed, ports: Ports) -> Unit:
    """Somebody's yes lets it go on, somebody's no ends it."""
    if await session.get(Decision, event.id) is not None:
        return Unit()
    mark = session.mark()
    try:
        found = await session.get(Promotion, event.promotion)
        if found is None:
            raise NotFound(f"no promotion {event.promotion[:60]!r}", reason="unknown_promotion")
        if found.status not in OPEN:
            return Unit([session.put(_reviewed(event, found, "skipped", f"it is {found.status} already"))])
        project = await session.project(found.project)
        environment = project.environment(found.environment)
        promotion.approved(found, environment.promotion if environment else None, project.roles, by=event.actor)
    except Permanent as error:
        session.rewind(mark)
        return Unit([session.put(_reviewed(event, None, "refused", error.message, error.reason))])
    if event.verdict == "rejected":
        why = f"rejected by {event.actor}" + (f": {event.why}" if event.why else "")
        unit = proposing.ended(session, found, "rejected", Refused(why, reason="rejected"))
    else:
        given = {one.by: one for one in (*found.approvals, Approval(by=event.actor, at=now()))}
        unit = await _again(session, replace(found, approvals=tuple(given.values())), ports)
    stands = await session.get(Promotion, found.id)
    unit.changes.append(session.put(_reviewed(event, stands, "accepted", stands.message if stands else "")))
    return unit


async def due(session: Session, event: WaitEnded, ports: Ports) -> Unit:
    """Decide a promotion again."""
    found = await session.get(Promotion, event.promotion)
    return Unit() if found is None or found.status not in OPEN else await _again(session, found, ports)


async def checked(session: Session, event: CheckReported) -> Unit:
    """Keep a check's newest state and have the promotions of that commit decided again."""
    if await session.get(Decision, event.id) is not None:
        return Unit()
    check = Check(
        project=event.project, sha=event.sha, name=event.name, state=event.state, url=event.url, actor=event.actor,
        forge=event.forge, at=event.at or now(),
    )  # fmt: skip
    said = Decision(
        id=event.id, about="command", outcome="accepted", reason="check_kept", project=event.project, sha=event.sha,
        message=f"{event.name} is {event.state} on {event.sha[:12]}", actor=event.actor, at=now(),
    )  # fmt: skip
    known = await session.get(Check, *check.key)
    if known is not None and known.forge and not check.forge:
        why = f"{known.forge} itself says how {event.name} ended on {event.sha[:12]}: {known.state}"
        return Unit([session.put(replace(said, outcome="refused", reason="check_of_forge", message=why))])
    unit = Unit([session.put(check), session.put(said)])
    for one in await session.promotions():
        if one.project == event.project and any(member.sha == event.sha for member in one.members):
            unit.events.append(WaitEnded(id=f"{one.id}/check/{event.id}", at=now(), promotion=one.id))
    return unit


async def settled(session: Session) -> Unit:
    """After others moved the config branch: what they merged is done, and all else that waits is decided again."""
    unit = Unit()
    for one in await session.promotions():
        if one.status == "proposed" and await _is_there(session, one):
            unit.add(await _done(session, one, session.tip, "merged", f"{one.branch} was merged"))
        else:
            unit.events.append(WaitEnded(id=f"{one.id}/config/{session.tip}", at=now(), promotion=one.id))
    return unit


async def found_done(session: Session, commit: Commit) -> Unit:
    """From a promotion's own commit, just written or found in git: the promotion is done."""
    said = commit.trailers
    if said.get("Via") != "promotion":
        return Unit()
    known = await session.get(Promotion, said.get("Set", ""))
    members = tuple(
        Member(service=here.service, release=own.trailers.get("Release", ""), image=own.trailers.get("Image", ""),
               sha=own.trailers.get("Commit", ""))
        for here, own in sets.expanded(commit)
    )  # fmt: skip
    one = known or Promotion(
        id=said.get("Set", ""), command=said["Intent"], project=said.get("Project", ""), source=said.get("From", ""),
        environment=said.get("Environment", ""), members=members, status="waiting", actor=commit.author,
        created_at=commit.at,
    )  # fmt: skip
    return await _done(session, one, commit.id, "promoted", decisions.summary(commit))


async def _asked(session: Session, event: PromotionRequested) -> Promotion:
    project = await session.project(event.project)
    environment = project.environment(event.environment)
    if environment is None:
        raise NotFound(f"{event.project} has no environment {event.environment}", reason="unknown_environment")
    source = event.source or (environment.promotion.source if environment.promotion else "")
    if not source or project.environment(source) is None or source == environment.name:
        raise NotFound(f"promote from which environment? there is no {source!r}", reason="unknown_environment")
    services = tuple(dict.fromkeys((event.service, *event.services) if event.service else event.services))
    if not services:
        raise NotFound("promote which services?", reason="no_service")
    return Promotion(
        id=promotion.promotion_id(event.id),
        command=event.id,
        project=event.project,
        source=source,
        environment=event.environment,
        members=tuple([await _member(session, place(event.project, source, service)) for service in services]),
        status="waiting",
        actor=event.actor,
        why=event.why,
        override=event.override_freeze,
        force=event.force,
        trace=event.trace,
        created_at=now(),
    )


async def _member(session: Session, here: Place) -> Member:
    target = await session.target(here)
    if target is None or not target.deployment:
        raise Refused(f"nothing is deployed of {here}", reason="nothing_deployed")
    release = await session.get(Release, target.release) if target.release else None
    if release is None or release.image != target.image:
        raise Refused(f"what {here} runs is of no known release", reason="unknown_release")
    return Member(service=here.service, release=release.id, image=release.image, sha=release.sha)


async def _again(session: Session, one: Promotion, ports: Ports) -> Unit:
    mark = session.mark()
    try:
        return await (_pushed(session, one, ports) if one.pushed else _carried(session, one, ports))
    except Permanent as error:
        session.rewind(mark)
        if error.reason == "bad_project_file":
            return Unit()  # nothing is decided by a file that nobody can read; its repair is the next occasion
        replaced = one.pushed and error.reason in ("already_deployed", "older_than_deployed")
        return proposing.ended(session, one, "superseded" if replaced else "refused", error)


async def _pushed(session: Session, one: Promotion, ports: Ports) -> Unit:
    """Once more what the push itself would have done, but for the freeze."""
    (member,) = one.members
    here = place(one.project, one.environment, member.service)
    release = await session.get(Release, member.release)
    environment = (await session.project(one.project)).environment(one.environment)
    if release is None or environment is None:
        raise NotFound(f"{one.project} has no environment {one.environment} any more", reason="unknown_environment")
    if (one.command, here) in session.done:
        unit = Unit()
    else:
        unit = await deploy(session, here, release, environment, _cause(one), ports)
    stands = await session.get(Decision, decisions.identity(release.id, here))
    if stands is None or stands.outcome == "waiting":
        return unit
    unit.add(await session.unwished(release.id, here) if stands.outcome != "held" else Unit())
    unit.add(await _done(session, one, session.tip, stands.reason, stands.message))
    return unit


async def _carried(session: Session, one: Promotion, ports: Ports) -> Unit:
    """As far as it may go now. Raises Permanent when it may not go at all."""
    if (one.command, None) in session.done:
        return Unit()  # its commit was found in git, and its end with it
    project = await session.project(one.project)
    environment = project.environment(one.environment)
    if environment is None:
        raise Refused(f"{one.project} has no environment {one.environment} any more", reason="unknown_environment")
    stands = promotion.standing(one, environment, await _facts(session, one, environment, project.roles))
    one = replace(one, members=stands.members)
    drafts = await _drafts(session, one, environment, ports)
    if not stands.waits:
        return await _written(session, one, drafts)
    if promotion.by_proposal(environment) and stands.proposable:
        one = await _proposed(session, one, drafts)
    return _waits(session, one, stands)


async def _facts(session: Session, one: Promotion, environment: Environment, roles: Roles) -> Facts:
    sources = {member.service: await _source(session, one, member) for member in one.members} if one.source else {}
    wanted = environment.promotion.checks if environment.promotion else ()
    checks: dict[tuple[str, str], CheckState] = {}
    for member in one.members:
        for name in wanted:
            check = await session.get(Check, one.project, member.sha, name)
            # What a forge said before may have changed since: it is asked again for each promotion.
            if check is not None and (not check.forge or check.at >= one.created_at):
                checks[member.sha, name] = check.state
    at = datetime.datetime.now(datetime.UTC)
    return Facts(at, sources, checks, await freezing.stopped(session, environment), roles)


async def _source(session: Session, one: Promotion, member: Member) -> Source:
    here = place(one.project, one.source, member.service)
    target = await session.target(here)
    if target is None or target.release != member.release:
        return Source(there=False)
    deployment = await session.get(Deployment, target.deployment)
    live = await session.get(Live, *here)
    well = live is not None and live.deployment == target.deployment and live.status == "running"
    since = (live.healthy_since or live.since) if live and well and live.health == "healthy" else ""
    failed = deployment is not None and deployment.status == "failed"
    observer = await session.get(Observer, Observer.NAME)
    if not since or observer is None:
        return Source(True, failed, _moment(since))
    begun = max(datetime.datetime.fromisoformat(since), datetime.datetime.fromisoformat(observer.since))
    return Source(True, failed, begun, _moment(observer.at))


def _moment(text: str) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None


async def _drafts(session: Session, one: Promotion, environment: Environment, ports: Ports) -> dict[Place, Draft]:
    """The commit of each member that is not there yet, every gate passed. Raises Permanent."""
    drafts: dict[Place, Draft] = {}
    for member in one.members:
        here = place(one.project, one.environment, member.service)
        release = await session.get(Release, member.release)
        if release is None:
            raise NotFound(f"no release {member.release}", reason="unknown_release")
        situation = await session.situation(here)
        branch = environment.branch or names.branch(release.ref) or ""
        clearance = await clear(session, release, branch, ports)
        if situation.target is not None and situation.target.release == release.id:
            continue
        if situation.hold is not None:
            raise Refused(f"{here} is held; resume it first", reason="held")
        forced = await writing.ordered(situation, release, environment, ports, force=one.force)
        drafts[here] = intents.deploy(situation, release, cause=_cause(one), clearance=clearance, forced=forced)
    if not drafts:
        raise Refused(f"{one.environment} has exactly that already", reason="already_deployed")
    return drafts


def _cause(one: Promotion) -> Cause:
    return Cause(one.command, "push" if one.pushed else "promotion", one.actor, now(), one.why, one.trace)


def _joined(one: Promotion, drafts: dict[Place, Draft]) -> Draft:
    services = sets.listed([here.service for here in drafts])
    subject = f"Promote {one.project}/{services} from {one.source} to {one.environment}"
    approved = ", ".join(approval.by for approval in one.approvals)
    extra = {"Set": one.id, "From": one.source, "Approved": approved, "Override": one.override}
    return sets.joined(drafts, subject, _cause(one), extra)


async def _written(session: Session, one: Promotion, drafts: dict[Place, Draft]) -> Unit:
    commit, unit = await writing.commit_set(session, _joined(one, drafts))
    unit.add(await _done(session, one, commit.id, "promoted", decisions.summary(commit)))
    return unit


async def _proposed(session: Session, one: Promotion, drafts: dict[Place, Draft]) -> Promotion:
    mark, tip = session.mark(), session.tip
    commit, *_ = await session.write(_joined(one, drafts))
    session.rewind(mark)
    if one.status == "proposed" and await asyncio.to_thread(proposing.stands, session.repo, one, commit, on=tip):
        return one
    branch = promotion.branch_name(one.project, one.environment, [member.service for member in one.members])
    session.propose(branch, commit.id)
    return replace(one, status="proposed", branch=branch, config_commit=commit.id)


def _waits(session: Session, one: Promotion, stands: Standing) -> Unit:
    wake = freezing.later(stands.wake_at, one.wake_at)
    one = replace(one, reason=stands.reason, message=f"{_brings(one)} waits: {stands.message}", wake_at=wake)
    one = proposing.said(one)
    return Unit([session.put(one), session.put(freezing.decision(one, "waiting"))])


def _brings(one: Promotion) -> str:
    return ", ".join(f"{member.service} {member.release.rpartition('.')[2]}" for member in one.members)


async def _done(session: Session, one: Promotion, commit: str, reason: str, message: str) -> Unit:
    await session.get(Promotion, one.id)
    done = replace(
        one, status="done", reason=reason, message=message, wake_at="", config_commit=commit, finished_at=now()
    )
    if one.branch:
        session.propose(one.branch, "")
    unit = Unit([session.put(done)])
    if not one.pushed:  # a push's own commit says how it ended
        unit.changes.append(session.put(freezing.decision(done, "accepted")))
    return unit


async def _is_there(session: Session, one: Promotion) -> bool:
    for member in one.members:
        target = await session.target(place(one.project, one.environment, member.service))
        if target is None or target.image != member.image:
            return False
    return True


def _reviewed(
    event: PromotionReviewed, one: Promotion | None, outcome: Outcome, message: str, reason: str = ""
) -> Decision:
    return Decision(
        id=event.id, about="command", outcome=outcome, reason=reason or event.verdict,
        message=message, project=one.project if one else "", environment=one.environment if one else "",
        actor=event.actor, at=now(),
    )  # fmt: skip
