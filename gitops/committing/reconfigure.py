"""Secrets, scale and restarts: the release that is deployed, rendered again into changed surroundings.

A hold stays: it keeps releases back, not the configuration of the one that runs.
"""

from __future__ import annotations

from gitops.committing import history, intents
from gitops.committing.clearance import clear
from gitops.committing.deploying import deploy
from gitops.committing.derive import wish_id
from gitops.committing.edits import Draft, Edit
from gitops.committing.intents import Cause, Situation
from gitops.committing.ports import Ports
from gitops.committing.session import Session, Unit
from gitops.committing.writing import commit_draft
from gitops.layout import HOLD_FILE, NOTES, Place
from gitops.notes import Notes, Scale
from gitops.render import render, spec_of
from gitops.trailers import one_line
from pipeline import names
from pipeline.errors import Invalid, NotFound, Permanent, Refused
from pipeline.events import Command, RestartRequested, ScaleRequested, SecretChanged
from pipeline.previews import SCOPE, is_preview
from pipeline.records import Deployment, Release, SecretVersion, ServiceRecord

KINDS = (SecretChanged, ScaleRequested, RestartRequested)
MISSING = "secret_missing"
LOOK_BACK = 20
"""Releases since the deployed one among which one is looked for that waits for a secret."""


async def fulfil(session: Session, here: Situation, event: Command, cause: Cause, ports: Ports) -> Unit:
    """One of ``KINDS``. Raises Refused, NotFound, Invalid."""
    if here.unreadable:
        raise Invalid(here.unreadable, reason="bad_notes")
    await _known(session, here, event)
    if isinstance(event, SecretChanged):
        return await _secret(session, here, event, cause, ports)
    release = await _deployed_release(session, here)
    await clear(session, release, names.branch(release.ref) or "", ports)
    if isinstance(event, ScaleRequested):
        wanted = _scaled(here, release, event, cause)
        subject = f"Scale {here.place.project}/{here.place.service} in {here.place.environment} to {_count(event)}"
    else:
        wanted = here.noted(restarted_at=cause.at)
        subject = f"Restart {here.place.project}/{here.place.service} in {here.place.environment}"
    return await commit_draft(session, here.place, again(here, wanted, release, subject, cause))


async def _known(session: Session, here: Situation, event: Command) -> None:
    if isinstance(event, SecretChanged) and is_preview(here.place.environment):
        raise Refused(f"all previews share their secrets: set it with -e {SCOPE}", reason="preview_secrets_shared")
    if here.place.environment == SCOPE:
        return
    project = await session.project(here.place.project)
    deployed = here.target is not None and here.target.deployment
    if not deployed and here.place.environment not in (one.name for one in project.environments):
        raise NotFound(
            f"{here.place.project} has no environment {here.place.environment}", reason="unknown_environment"
        )


async def _secret(session: Session, here: Situation, event: SecretChanged, cause: Cause, ports: Ports) -> Unit:
    """Note the version, and put it where the deployed release or the one that waits for it is rendered."""
    wanted = here.noted(secrets=_with_secret(here.notes, event, cause))
    did = f"to v{event.number}" if event.number else "to nothing"
    subject = f"Set {event.name} of {here.place.project}/{here.place.service} in {here.place.environment} {did}"
    if waiting := await _refused(session, here, wanted):
        unit = await commit_draft(session, here.place, _noted(wanted, subject, cause))
        return await _with_waiting(session, here.place, unit, waiting, cause, ports)
    release = await session.get(Release, here.target.release) if here.target and here.target.release else None
    if release is None or not here.owned:
        return await commit_draft(session, here.place, _noted(wanted, subject, cause))
    if render(release, here.place, wanted.around) == render(release, here.place, here.around):
        return await commit_draft(session, here.place, _noted(wanted, subject, cause))
    await clear(session, release, names.branch(release.ref) or "", ports)
    return await commit_draft(session, here.place, again(here, wanted, release, subject, cause))


async def _with_waiting(
    session: Session, here: Place, unit: Unit, waiting: Release, cause: Cause, ports: Ports
) -> Unit:
    """Deploy what was refused for want of the secret; when it may not go out for another reason, the secret is set."""
    environment = (await session.project(here.project)).environment(here.environment)
    if environment is None:
        return unit
    mark = session.mark()
    try:
        unit.add(await deploy(session, here, waiting, environment, cause, ports))
    except Permanent:
        session.rewind(mark)
    return unit


def _with_secret(notes: Notes, event: SecretChanged, cause: Cause) -> dict[str, SecretVersion]:
    old = notes.secrets.get(event.name)
    if not event.number:
        if old is None:
            raise Refused(f"{event.name} is not set", reason="secret_not_set")
        return {name: one for name, one in notes.secrets.items() if name != event.name}
    if old is not None and old.version >= event.number:
        raise Refused(f"{event.name} is at v{old.version} already", reason="older_than_set")
    new = SecretVersion(version=event.number, by=cause.actor, at=cause.at)
    return {**notes.secrets, event.name: new}


async def _refused(session: Session, here: Situation, wanted: Situation) -> Release | None:
    """The newest release, when it was refused for a missing secret and now has all of them."""
    last = await _waiting(session, here)
    release = await session.get(Release, last.release) if last else None
    if last is None or release is None or here.hold is not None or (last.status, last.reason) != ("failed", MISSING):
        return None
    try:
        intents.rendered(wanted, release)
    except Refused:
        return None
    return release


async def _waiting(session: Session, here: Situation) -> Deployment | None:
    """The newest release's wish to be deployed here, of those since the one that is; other environments have theirs."""
    counter = await session.get(ServiceRecord, here.place.project, here.place.service)
    newest = counter.last_release if counter else 0
    deployed = history.release_number(here.target.release) if here.target else 0
    for number in range(newest, max(deployed, newest - LOOK_BACK), -1):
        release = names.release_id(here.place.project, here.place.service, number)
        if (found := await session.get(Deployment, wish_id(release, here.place))) is not None:
            return found
    return None


async def _deployed_release(session: Session, here: Situation) -> Release:
    current = here.deployed()
    release = await session.get(Release, current.release) if current.release else None
    if release is None:
        raise Refused(f"what is deployed of {here.place} is no release of Enclii's", reason="unknown_release")
    return release


def _scaled(here: Situation, release: Release, event: ScaleRequested, cause: Cause) -> Situation:
    if spec_of(release, here.place.environment).scale is not None:
        raise Refused(f"{here.place} is counted by its autoscaler: change scale in enclii.yaml", reason="autoscaled")
    scale = None
    if event.replicas is not None:
        scale = Scale(event.replicas, cause.actor, cause.at, one_line(cause.why))
    return here.noted(scale=scale)


def _count(event: ScaleRequested) -> str:
    return "the file's count" if event.replicas is None else str(event.replicas)


def _noted(wanted: Situation, subject: str, cause: Cause) -> Draft:
    return intents.draft(wanted.place, _edit(wanted, {}, frozenset()), subject, cause)


def again(here: Situation, wanted: Situation, release: Release, subject: str, cause: Cause) -> Draft:
    """The commit that renders the deployed release once more, into changed surroundings."""
    files = intents.rendered(wanted, release)
    edit = _edit(wanted, files, here.owned - set(files))
    return intents.draft(
        here.place, edit, subject, cause, intents.of_release(release), reference=intents.reference_to(release)
    )


def _edit(wanted: Situation, files: dict[str, bytes], gone: frozenset[str]) -> Edit:
    kept = wanted.notes.files()
    unsaid = (wanted.names & NOTES) - set(kept) - {HOLD_FILE}
    return Edit(wanted.place.path, write={**files, **kept}, remove=gone | unsaid)
