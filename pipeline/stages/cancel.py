"""Cancel: a run that is still on its way ends where it is; what is deployed stays deployed.

The run's record says ``cancelled``; each stage looks before it begins, and the builder looks while it builds.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pipeline import jobs
from pipeline.events import CancelRequested, Event
from pipeline.records import Decision, Job, Outcome, Run
from pipeline.store import Change, Step, Store, now


@dataclass(frozen=True)
class Canceller:
    """The stage with its port."""

    store: Store

    async def handle(self, event: Event) -> Step:
        """Mark the run; refuse when there is no such run or it has ended."""
        assert isinstance(event, CancelRequested)
        if await self.store.get(Decision, event.id) is not None:
            return Step()
        found = await self.store.get(Run, event.run)
        if found is None:
            return _decided(event, "refused", "run_unknown", f"there is no run {event.run}")
        if not await self._is_open(found.record):
            return _decided(event, "refused", "run_ended", f"run {event.run} has ended already")
        message = f"cancelled by {event.actor or 'somebody'}"
        run = msgspec.structs.replace(found.record, status="cancelled", reason="cancelled", message=message)
        decision = _decided(event, "accepted", "cancelled", message)
        return Step((Change(run, found.seq), *decision.changes))

    async def _is_open(self, run: Run) -> bool:
        if run.status != "running":
            return False
        found = [await self.store.get(Job, run.id, service) for service in run.services]
        return any(one is not None and one.record.status in jobs.OPEN for one in found)


def _decided(event: CancelRequested, outcome: Outcome, reason: str, message: str) -> Step:
    decision = Decision(
        id=event.id, about="command", outcome=outcome, reason=reason, message=message, run=event.run,
        actor=event.actor, at=now(),
    )  # fmt: skip
    return Step((Change(decision, 0),))
