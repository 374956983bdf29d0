"""Copies of base services: what of another environment a preview gets one of its own of (``previews.base.copied``).

A copy is the release that the base environment has, under the preview's own name, secrets and wall. It comes with the
first image of the preview's own, and is renewed with the next one.
"""

from __future__ import annotations

from msgspec.structs import replace

from gitops.committing import decisions, intents
from gitops.committing.clearance import clear
from gitops.committing.idle import awake
from gitops.committing.intents import Cause, Situation
from gitops.committing.ports import Ports
from gitops.committing.session import Session, Unit
from gitops.committing.writing import commit_draft
from gitops.layout import Place
from pipeline.errors import Permanent
from pipeline.previews import Preview, PreviewRef
from pipeline.records import Release


async def copied(session: Session, ref: PreviewRef, preview: Preview, cause: Cause, ports: Ports) -> Unit:
    """Deploy into the preview what its record says that it gets, unless just that runs there."""
    unit = Unit()
    project = await session.project(preview.project)
    for name in (one.name for one in preview.services if one.copied and not ref.fork):
        here = Place(preview.project, ref.environment, name)
        release = await session.released(here._replace(environment=project.previews.base.environment))
        there = await session.target(here)
        situation = await session.situation(here)
        same = there is not None and release is not None and there.release == release.id
        if release is None or (same and awake(situation) is situation):
            continue
        mark = session.mark()
        try:
            unit.add(await _copy(session, awake(situation), release, ref, cause, ports))
        except Permanent as error:  # the preview's own services do not go down with it
            session.rewind(mark)
            decision = decisions.identity(f"{cause.intent}/{release.id}", here)
            unit.changes.append(session.put(decisions.of_release(release, decision, error, "refused", here)))
    return unit


async def _copy(
    session: Session, there: Situation, release: Release, ref: PreviewRef, cause: Cause, ports: Ports
) -> Unit:
    """By its own signature and the project's policy, as where it comes from."""
    clearance = await clear(session, release, "", ports)
    draft = intents.deploy(there, replace(release, preview=ref), cause=cause, clearance=clearance)
    return await commit_draft(session, there.place, draft)
