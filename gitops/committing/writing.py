"""What every request does in the end: compare, write one commit, and say how it ended."""

from __future__ import annotations

import asyncio

from gitops.committing import derive, history
from gitops.committing.edits import Commit, Draft
from gitops.committing.intents import Situation
from gitops.committing.ports import Ports
from gitops.committing.session import Session, Unit
from gitops.layout import Place, place_of
from gitops.rules import order, sets
from pipeline.records import Environment, Release


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


async def commit_set(session: Session, draft: Draft) -> tuple[Commit, Unit]:
    """Write the draft of a set: the commit, and the records that follow for each of its places. Raises Refused."""
    befores = {place: await session.target(place) for place in _places(draft)}
    written, *_ = await session.write(draft)
    unit = Unit()
    for here, own in sets.expanded(written):
        tree = await asyncio.to_thread(session.repo.tree, written.id, here.path)
        hold = await asyncio.to_thread(session.repo.hold, tree) if tree else None
        derived = derive.of_own(own, here, before=befores.get(here), tree=tree, hold=hold)
        unit.add(await session.apply(derived, here, fresh=True))
    return written, unit


def _places(draft: Draft) -> list[Place]:
    return [here for edit in (draft.edit, *draft.others) if (here := place_of(edit.path)) is not None]
