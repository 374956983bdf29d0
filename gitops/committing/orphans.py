"""Services that vanished from ``enclii.yaml``: marked in git, until somebody destroys them or they come back.

What runs is never taken away by a push. An environment is looked at by the pushes of the branch that feeds it, and a
service by those of the repository that its release came from: so neither what is promoted nor a preview is marked.
"""

from __future__ import annotations

import asyncio

from gitops.committing import decisions, intents
from gitops.committing.intents import Cause, Situation
from gitops.committing.session import Session, Unit
from gitops.committing.writing import commit_draft
from gitops.layout import Place, place_of
from gitops.notes import Orphaned
from pipeline import names
from pipeline.errors import Permanent
from pipeline.events import ServicesDeclared
from pipeline.records import Branch, Environment, Project, Release, ServiceRecord, Target
from pipeline.store import now


async def declared(session: Session, event: ServicesDeclared) -> Unit:
    """One commit for each service that vanished, and for each that is back."""
    branch = await session.look(Branch, event.repository, event.ref)
    project = await session.get(Project, event.project)
    unit = Unit()
    if branch is None or branch.services != event.services or project is None:
        return unit  # a newer push says otherwise, by an event of its own
    for environment in project.environments:
        if environment.branch and environment.branch == names.branch(event.ref):
            for here in await _places(session, event.project, environment.name):
                unit.add(await _one(session, here, event))
    return unit


async def marked(session: Session, here: Situation, release: Release, environment: Environment) -> Situation:
    """The place with the mark that it is to have beside a release: the environment's branch may have moved on since."""
    branch = await session.look(Branch, release.repository, names.BRANCH_PREFIX + environment.branch)
    if branch is None or branch.services is None:
        return here
    if release.service in branch.services:
        return here if here.notes.orphaned is None else here.noted(orphaned=None)
    return here if here.notes.orphaned else here.noted(orphaned=Orphaned(branch.head, at=now()))


async def _places(session: Session, project: str, environment: str) -> list[Place]:
    folder = f"{project}/{environment}"
    found = await asyncio.to_thread(session.repo.children, session.tip, folder)
    return [here for name in found if (here := place_of(f"{folder}/{name}")) is not None]


async def _one(session: Session, here: Place, event: ServicesDeclared) -> Unit:
    target = await session.target(here)
    if target is None or not target.deployment:
        return Unit()
    there = here.service in event.services
    if there != target.orphaned or not (there or await _comes_from(session, here, target, event.repository)):
        return Unit()
    mark, situation = session.mark(), await session.situation(here)
    cause = Cause(f"{event.id}/{here.path}", "unorphan" if there else "orphan", event.actor, now(), trace=event.trace)
    if there:
        draft = intents.unorphan(situation, event.sha, cause=cause)
    else:
        draft = intents.orphan(situation, Orphaned(event.sha, event.actor, cause.at), cause=cause)
    try:
        return await commit_draft(session, here, draft)
    except Permanent as error:
        session.rewind(mark)
        return Unit([session.put(decisions.not_marked(event, here, error))])


async def _comes_from(session: Session, here: Place, target: Target, repository: str) -> bool:
    """Whether what is deployed was built from the repository; of a digest of no release, its newest release counts."""
    release = await session.get(Release, target.release) if target.release else None
    if release is not None:
        return release.repository == repository
    counter = await session.look(ServiceRecord, here.project, here.service)
    return counter is not None and counter.repository == repository
