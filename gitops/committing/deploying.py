"""One release into one environment: in order, verified, past a hold and a freeze, or waiting behind them."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from gitops.committing import decisions, derive, freezing, history, intents, orphans
from gitops.committing.clearance import clear
from gitops.committing.intents import Cause, Situation
from gitops.committing.ports import Ports
from gitops.committing.session import Session, Unit
from gitops.committing.writing import commit_draft, ordered
from gitops.layout import Place
from pipeline import names
from pipeline.errors import Permanent, Refused
from pipeline.records import Environment, Release

OVERTAKEN: Final = frozenset({"older_than_deployed", "already_deployed", "preview_closed", "newer_push"})
"""Reasons that speak of something newer, and not of the release."""


async def deploy(
    session: Session, here: Place, release: Release, environment: Environment, cause: Cause, ports: Ports
) -> Unit:
    """Deploy what was pushed, or let it wait. Raises Permanent when it may not go out."""
    fed(environment, release)
    situation = await orphans.marked(session, await session.situation(here), release, environment)
    forced = await ordered(situation, release, environment, ports, force=False)
    clearance = await clear(session, release, environment.branch, ports)
    if situation.hold is not None and environment.name not in await ports.resumes(release):
        return await _held(session, situation, release)
    if (frozen := await freezing.stopped(session, environment)) is not None:
        return await freezing.push_waits(session, here, release, cause.intent, frozen)
    return await commit_draft(
        session, here, intents.deploy(situation, release, cause=cause, clearance=clearance, forced=forced)
    )


def not_deployed(session: Session, release: Release, here: Place, decision: str, error: Permanent) -> Unit:
    """The decision about a release that does not go out; unless something newer overtook it, its deployment failed."""
    overtaken = error.reason in OVERTAKEN
    said = decisions.of_release(release, decision, error, "skipped" if overtaken else "refused", here)
    unit = Unit([session.put(said)])
    if not overtaken:
        failed = derive.wish(release, here, "failed", reason=error.reason, message=error.message)
        unit.changes.append(session.put(failed))
    return unit


def fed(environment: Environment, release: Release) -> None:
    """Return if pushes of the release's branch go there now: the rules may change while one waits. Raises Refused."""
    if not environment.branch:
        raise Refused(f"{environment.name} is entered by promotion: enclii promote", reason="only_by_promotion")
    if environment.branch != names.branch(release.ref):
        raise Refused(f"{environment.name} is fed by {environment.branch}, not by {release.ref}", reason="wrong_branch")


async def _held(session: Session, here: Situation, release: Release) -> Unit:
    """The release waits; the newest that waits is the one that a resume deploys."""
    target = here.deployed()
    unit = Unit()
    message = f"v{release.number} waits: {here.place} is held"
    if history.release_number(target.held_release) < release.number:
        unit.changes.append(session.put(replace(target, held_release=release.id)))
    held = derive.wish(release, here.place, "held", reason="held", message=message)
    unit.changes.append(session.put(held))
    why = Refused(message, reason="held")
    identity = decisions.identity(release.id, here.place)
    unit.changes.append(session.put(decisions.of_release(release, identity, why, "held", here.place)))
    return unit
