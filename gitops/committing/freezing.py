"""What a freeze does to a session: it lets a push wait, and it is begun and ended for everything by a file in git."""

from __future__ import annotations

import asyncio
import datetime

from msgspec.structs import replace

from gitops import hold as holds
from gitops import trailers
from gitops.committing import decisions, derive
from gitops.committing.edits import Draft, Edit
from gitops.committing.intents import Cause
from gitops.committing.session import Session, Unit
from gitops.hold import Hold
from gitops.layout import Place
from gitops.rules.freeze import Frozen, frozen, stamp
from gitops.rules.promotion import promotion_id
from pipeline.errors import Permanent, Refused
from pipeline.events import FreezeRequested, WaitEnded
from pipeline.promotions import OPEN, Member, Promotion
from pipeline.records import Decision, Environment, Outcome, Release
from pipeline.store import now

FOLDER, FILE = ".enclii", "freeze.yaml"
SOON = datetime.timedelta(seconds=1)
HEADER = "While this file is here, nothing new is deployed anywhere. `enclii thaw`, or deleting it, ends that."


async def stopped(session: Session, environment: Environment | None) -> Frozen | None:
    """The freeze that holds now: the one over everything, else one of the environment's windows."""
    held = await _over_all(session)
    if held is not None:
        return Frozen(f"by {held.by or 'somebody'}: {held.why}".rstrip(": "))
    windows = environment.freeze if environment else ()
    return frozen(windows, datetime.datetime.now(datetime.UTC)) if windows else None


async def request(session: Session, event: FreezeRequested) -> Unit:
    """Begin or end the freeze over everything; its end lets all that waits be decided again."""
    if await session.get(Decision, event.id) is not None:
        return Unit()
    try:
        if (event.id, None) not in session.done:
            await session.write(_draft(event, await _over_all(session)))
    except Permanent as error:
        return Unit([session.put(_decided(event, error))])
    unit = Unit([session.put(_decided(event, None))])
    if not event.frozen:
        unit.add(await wake(session, f"thaw/{event.id}"))
    return unit


async def wake(session: Session, why: str) -> Unit:
    """Have everything that waits decided again."""
    waiting = await session.promotions()
    return Unit(events=[WaitEnded(id=f"{one.id}/{why}", at=now(), promotion=one.id) for one in waiting])


async def push_waits(session: Session, here: Place, release: Release, intent: str, held: Frozen) -> Unit:
    """A pushed release waits for the end of a freeze; the newest that waits is the one that goes out."""
    version = f"v{release.number}"
    identity = decisions.identity(release.id, here)
    unit = Unit()
    for other in await _others(session, here, promotion_id(identity)):
        if _number(other) > release.number:
            newer = f"{version} waits no more: a newer one does; {here.environment} is {held}"
            said = decisions.of_release(release, identity, Refused(newer, reason="older_than_waiting"), "skipped", here)
            return Unit([session.put(said)])
        unit.add(superseded(session, other, promotion_id(identity)))
    why = Refused(f"{version} waits: {here.environment} is {held}", reason="frozen")
    waiting = _waiting(release, here, intent, why, held)
    known = await session.get(Promotion, waiting.id)
    unit.changes += [
        session.put(replace(waiting, wake_at=later(waiting.wake_at, known.wake_at if known else ""))),
        session.put(derive.wish(release, here, "held", reason="frozen", message=why.message)),
        session.put(decisions.of_release(release, identity, why, "waiting", here)),
    ]
    return unit


def superseded(session: Session, older: Promotion, newer: str) -> Unit:
    """The end of a promotion whose place another takes."""
    ended = replace(
        older, status="superseded", reason="superseded", message=f"{newer} took its place", wake_at="",
        finished_at=now(),
    )  # fmt: skip
    unit = Unit([session.put(ended), session.put(decision(ended, "skipped"))])
    if older.branch and not session.proposals.get(older.branch):
        session.propose(older.branch, "")
    return unit


def later(wake: str, before: str) -> str:
    """The moment to look again: never one that was up already, for the clock may have been turned back."""
    soon = stamp(datetime.datetime.now(datetime.UTC) + SOON)
    return max(wake, soon) if wake and wake <= before else wake


def decision(promotion: Promotion, outcome: Outcome) -> Decision:
    """How a promotion stands, as the decision on what asked for it."""
    only = promotion.members[0] if len(promotion.members) == 1 else None
    pushed = promotion.pushed and only is not None
    return Decision(
        id=f"{only.release}/{promotion.environment}" if pushed and only else promotion.command,
        about="release" if pushed else "command",
        outcome=outcome,
        reason=promotion.reason,
        message=promotion.message,
        project=promotion.project,
        environment=promotion.environment,
        service=only.service if only else "",
        sha=only.sha if only else "",
        release=only.release if only else "",
        actor=promotion.actor,
        at=now(),
    )


async def _over_all(session: Session) -> Hold | None:
    if not session.tip:
        return None
    data = await asyncio.to_thread(session.repo.read, session.tip, f"{FOLDER}/{FILE}")
    return holds.parse(data) if data is not None else None


def _draft(event: FreezeRequested, held: Hold | None) -> Draft:
    if event.frozen == (held is not None):
        said = ("everything is frozen already", "already_frozen") if held else ("nothing is frozen", "not_frozen")
        raise Refused(said[0], reason=said[1])
    via = "freeze" if event.frozen else "thaw"
    at = now()
    text = holds.render(Hold(event.actor, at, trailers.one_line(event.why)), header=HEADER)
    edit = Edit(FOLDER, write={FILE: text}) if event.frozen else Edit(FOLDER, remove=frozenset({FILE}))
    cause = Cause(event.id, via, event.actor, at, event.why, event.trace)
    subject = "Freeze everything" if event.frozen else "Thaw"
    message = trailers.render(subject, {"Trace": cause.trace, "Via": via, "Intent": event.id}, why=event.why)
    return Draft(edit, message, event.actor, at)


def _decided(event: FreezeRequested, error: Permanent | None) -> Decision:
    done = ("frozen", "nothing new is deployed until enclii thaw") if event.frozen else ("thawed", "what waits goes on")
    return Decision(
        id=event.id,
        about="command",
        outcome="refused" if error else "accepted",
        reason=error.reason if error else done[0],
        message=error.message if error else done[1],
        actor=event.actor,
        at=now(),
    )


def _waiting(release: Release, here: Place, intent: str, why: Refused, held: Frozen) -> Promotion:
    member = Member(service=here.service, release=release.id, image=release.image, sha=release.sha)
    return Promotion(
        id=promotion_id(decisions.identity(release.id, here)),
        command=intent,
        project=here.project,
        environment=here.environment,
        members=(member,),
        status="waiting",
        reason=why.reason,
        message=why.message,
        actor=release.actor,
        wake_at=stamp(held.until) if held.until else "",
        created_at=now(),
    )


async def _others(session: Session, here: Place, own: str) -> list[Promotion]:
    return [
        one for one in await session.promotions()
        if one.pushed and one.id != own and (one.project, one.environment) == here[:2]
        and one.members[0].service == here.service and one.status in OPEN
    ]  # fmt: skip


def _number(promotion: Promotion) -> int:
    tail = promotion.members[0].release.rpartition(".v")[2]
    return int(tail) if tail.isdecimal() else 0
