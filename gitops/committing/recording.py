"""What was pushed becomes records: consecutive steps joined into few atomic batches, in the order of the branch."""

from __future__ import annotations

from collections.abc import Sequence

from gitops.committing.session import Unit
from pipeline.errors import Conflict, EncliiError
from pipeline.store import Step, Store

CHUNK = 200
"""Changes in one atomic batch; each may bring an event, and the server takes a thousand messages."""


def joined(steps: Sequence[Step]) -> Step:
    """The steps as one: true together, to the same end as one after the other."""
    whole = Unit()
    for step in steps:
        whole.add(Unit(list(step.changes), list(step.events)))
    return whole.step()


def chunks(steps: Sequence[Step]) -> list[Sequence[Step]]:
    """The steps in their order, as runs that each fit into one batch."""
    runs: list[list[Step]] = []
    size = 0
    for step in steps:
        if not runs or size + len(step.changes) > CHUNK:
            runs.append([])
            size = 0
        runs[-1].append(step)
        size += len(step.changes)
    return list(runs)


async def record(store: Store, steps: Sequence[Step]) -> tuple[int, EncliiError | None]:
    """Make the steps true in their order; how many of the first are, and what stopped the next.

    After one that cannot be recorded no later one is. Of a batch that meets newer state each step is tried alone, so
    that the one it belongs to keeps no other back.
    """
    done = 0
    for run in chunks(steps):
        try:
            await store.commit(joined(run))
            done += len(run)
        except Conflict as error:
            alone, stopped = await _one_by_one(store, run, error)
            done += alone
            if stopped is not None:
                return done, stopped
        except EncliiError as error:
            return done, error
    return done, None


async def _one_by_one(store: Store, steps: Sequence[Step], refusal: Conflict) -> tuple[int, EncliiError | None]:
    if len(steps) == 1:
        return 0, refusal
    for done, step in enumerate(steps):
        try:
            await store.commit(step)
        except EncliiError as error:
            return done, error
    return len(steps), None
