"""What is refused at once: commands that cannot succeed by what git, and what was deployed, say at this moment.

The committer decides; this only spares people the wait. So nothing is refused here by what may be out of date.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from console import actions, queries
from console.projection import Projection
from pipeline.errors import Refused
from pipeline.events import (
    CancelRequested,
    Command,
    DeployRequested,
    DestroyRequested,
    Event,
    HoldRequested,
    RestartRequested,
    ResumeRequested,
    RollbackRequested,
    ScaleRequested,
)
from pipeline.jobs import run_status
from pipeline.names import token
from pipeline.records import Job, Live, Run, Target
from pipeline.store import Store

CATCH_UP: Final = 2.0


async def admit(store: Store, db: Projection, event: Event) -> None:
    """Raises Invalid, NotFound; and Refused, once the projection has read as far as the store was when asked."""
    await asyncio.to_thread(actions.check, db, event)
    try:
        await asyncio.to_thread(refuse, db, event)
    except Refused:
        if await store.bus.get(f"ev.*.*.{token(event.id)}") is not None:
            return  # the same request, made again because its answer was lost; or its key, which is refused as that
        await _catch_up(store, db, event)
        await asyncio.to_thread(refuse, db, event)


def refuse(db: Projection, event: Event) -> None:
    """Raises Refused."""
    if isinstance(event, CancelRequested):
        _ended(db, event)
    elif isinstance(event, Command) and event.service and (check := _CHECKS.get(type(event))) is not None:
        check(db, event, db.get(Target, event.project, event.environment, event.service))


def _ended(db: Projection, event: CancelRequested) -> None:
    run = db.get(Run, event.run)
    status = run_status(run, db.find(Job, run=event.run)) if run else "running"
    if status != "running":
        raise Refused(f"run {event.run} has ended: {status}", reason="run_ended")


def _deployed(_: Projection, event: Command, target: Target | None) -> None:
    if target is None or not target.deployment:
        where = f"{event.project}/{event.environment}/{event.service}"
        raise Refused(f"nothing is deployed of {where}", reason="nothing_deployed")


def _rollback(db: Projection, event: Command, target: Target | None) -> None:
    assert isinstance(event, RollbackRequested)
    if event.set or (event.expected and (target is None or target.deployment != event.expected)):
        return  # somebody else was faster, which the decision shall say
    _deployed(db, event, target)
    queries.rollback_plan(db, event.project, event.service, event.environment, event.to)


def _hold(db: Projection, event: Command, target: Target | None) -> None:
    _deployed(db, event, target)
    if target is not None and target.held:
        by = f" by {target.hold_by}" if target.hold_by else ""
        why = f": {target.hold_reason}" if target.hold_reason else ""
        raise Refused(f"{event.service} is held already{by}{why}", reason="already_held")


def _resume(db: Projection, event: Command, target: Target | None) -> None:
    _deployed(db, event, target)
    if target is not None and not (target.held or target.held_release):
        raise Refused(f"{event.service} is not held in {event.environment}", reason="not_held")


def _deploy(_: Projection, event: Command, target: Target | None) -> None:
    assert isinstance(event, DeployRequested)
    if event.release and target is not None and target.held:
        way = f"enclii resume -p {event.project} -e {event.environment} -s {event.service}"
        raise Refused(f"{event.service} is held in {event.environment}; resume it first: {way}", reason="held")


_CHECKS: Final[Mapping[type[Command], Callable[[Projection, Command, Target | None], None]]] = {
    RollbackRequested: _rollback,
    HoldRequested: _hold,
    ResumeRequested: _resume,
    DeployRequested: _deploy,
    DestroyRequested: _deployed,
    ScaleRequested: _deployed,
    RestartRequested: _deployed,
}


async def _catch_up(store: Store, db: Projection, event: Event) -> None:
    """Wait until what was deployed, and what was seen of it, is read as the store has it now."""
    if not isinstance(event, Command):
        return
    place = (event.project, event.environment, event.service)
    found = [await store.get(Target, *place), await store.get(Live, *place)]
    newest = max((one.seq for one in found if one is not None), default=0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CATCH_UP):
            while True:
                moved = db.moved
                if db.position() >= newest:
                    return
                await moved.wait()
