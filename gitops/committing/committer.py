"""The committer: drains what waits, writes one commit per deployment, pushes once, and says what to record.

A lost push is answered by fetching and applying the intents again on the new tip. What was pushed but not recorded is
found again by its trailers, so a death at any point neither loses a deployment nor makes it twice.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gitops.committing import instances
from gitops.committing.absorb import Absorbed, absorb
from gitops.committing.edits import Commit
from gitops.committing.ports import Ports
from gitops.committing.promoting import settled
from gitops.committing.recording import chunks, joined
from gitops.committing.recovery import recovered
from gitops.committing.requests import follow_up, fulfil
from gitops.committing.session import Session
from gitops.gate.verdicts import Gates
from gitops.git.configrepo import ConfigRepo
from pipeline.errors import Conflict, EncliiError, Permanent, Retryable, Unavailable
from pipeline.events import ConfigMoved, DeploymentObserved, Event
from pipeline.records import ConfigTip, Decision
from pipeline.store import Change, Step, Store

TRIES = 8
HURRY = 0.1
"""Seconds of work that a push is worth even where others write to the branch all the time."""
JITTER = 0.05
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Result:
    """What to do about one event; None stands for what was found in git, which nobody asked for.

    Commit ``step``, then acknowledge; with ``error`` let the event come again. Results are to be recorded in their
    order, and after the first that cannot be recorded no later one may be: the records follow the branch.
    """

    event: Event | None
    step: Step = field(default_factory=Step)
    error: EncliiError | None = None

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """How it ended, for each service and environment."""
        return tuple(change.record for change in self.step.changes if isinstance(change.record, Decision))


def _concerns(event: Event) -> bool:
    """False for what needs no look at git: a deployment that goes well."""
    return not isinstance(event, DeploymentObserved) or event.status in ("degraded", "failed")


class Committer:
    """The only writer of the config branch."""

    def __init__(self, repo: ConfigRepo, store: Store, *, ports: Ports, instances: frozenset[str] = NOBODY) -> None:
        """``instances`` are the fingerprints of the Enclii whose commits are taken for its own; none: anybody's."""
        self._repo, self._store, self._ports = repo, store, ports
        self._instances = instances
        self._turn = asyncio.Lock()
        self._patience = math.inf

    async def handle(self, events: Sequence[Event]) -> list[Result]:
        """Make what the first of ``events`` ask for true in git, in their order, with one push.

        They are all of them, unless others write to the branch so often that only a few get through between two of
        their pushes; the rest, maybe all, is to be handled again after the results are recorded: the caller's part.
        Never raises what belongs to one event alone.
        """
        idle = [Result(event) for event in events if not _concerns(event)]
        if len(idle) == len(events):
            return idle
        async with self._turn:
            gates = Gates(self._ports.gate, self._ports.is_descendant)
            ports = replace(self._ports, gate=gates)
            try:
                return await self._until_pushed(events, ports, gates)
            except Retryable as error:
                return [Result(event, error=error) for event in events]
            except Permanent as error:
                # What is wrong with the repository is no fault of any event: all come again once it is put right.
                wrong = Unavailable(error.message, reason=error.reason, delay=30.0)
                return [Result(event, error=wrong) for event in events]

    async def _until_pushed(self, events: Sequence[Event], ports: Ports, gates: Gates) -> list[Result]:
        for attempt in range(1, TRIES + 1):
            try:
                return await self._attempt(events, ports, gates)
            except Conflict as lost:
                refusal = lost
                await asyncio.sleep(random.uniform(0, JITTER * attempt))  # noqa: S311 - spreads rivals, guards nothing
        raise Unavailable(
            f"nothing could be pushed in {TRIES} tries: {refusal.message}", reason=refusal.reason, delay=5.0
        ) from refusal

    async def _attempt(self, events: Sequence[Event], ports: Ports, gates: Gates) -> list[Result]:
        stored = await self._store.get(ConfigTip, "main")
        if stored is not None and all(_known_move(event, stored.record) for event in events):
            return [Result(event) for event in events]
        fetching = asyncio.create_task(asyncio.to_thread(self._repo.fetch))
        try:
            await gates.warm(self._store, events)
        finally:
            tip = await fetching  # also on the way out: the mirror belongs to one thread at a time
        if not tip and stored is not None:
            raise Unavailable("the config branch is gone; push it again or restore it", reason="config_branch_gone")
        since = stored.record.commit if stored else ""
        if (other := await asyncio.to_thread(self._stranger, tip, since)) is not None:
            wrong = Unavailable(instances.message(other), reason="another_instance", delay=30.0)
            found = Result(None, Step((Change(instances.finding(other), None),)))
            return [found, *(Result(event, error=wrong) for event in events)]
        session = Session(self._repo, self._store, tip=tip, stored=stored)
        session.know(gates.releases)
        caught = await self._catch_up(session, ports)
        facts = caught if session.tip == tip else []
        results = list(caught)
        begun = time.monotonic()
        for event in events:
            results.append(await self._one(session, event, ports))
            if time.monotonic() - begun > self._patience:
                break  # the longer a try takes, the likelier somebody else is faster
        spent = time.monotonic() - begun
        if session.tip != tip:
            try:
                await asyncio.to_thread(self._repo.push, session.tip)
                self._patience *= 2
            except Conflict:
                self._patience = max(HURRY, min(spent, self._patience) / 2)
                if not facts:
                    raise
                return facts  # recorded, what rivals did is not read again, or each try would take longer than the last
        for branch, commit in session.proposals.items():
            await asyncio.to_thread(self._repo.publish, branch, commit)
        return results

    def _stranger(self, tip: str, since: str) -> Commit | None:
        if not self._instances or tip == since:
            return None
        return instances.stranger(self._repo.ours_between(tip, since), self._instances)

    async def _catch_up(self, session: Session, ports: Ports) -> list[Result]:
        before = session.tip
        absorbed = await absorb(session)
        await self._follow_ups(session, absorbed, ports)
        # First of all: once a project is known its pushes are planned, and their releases need the numbers.
        absorbed.units[:0] = await recovered(session, absorbed.deployed, ports.spec_of)
        if session.since != before:
            absorbed.units.append(await settled(session))
        if session.since != session.tip or absorbed.units:
            absorbed.units.append(session.tip_unit())
        assert before or not absorbed.units
        return [Result(None, joined(run)) for run in chunks([unit.step() for unit in absorbed.units])]

    async def _follow_ups(self, session: Session, absorbed: Absorbed, ports: Ports) -> None:
        for place, wanted in absorbed.follow_ups.items():
            mark = session.mark()
            try:
                absorbed.units.append(await follow_up(session, place, wanted, ports))
            except Permanent:
                session.rewind(mark)

    async def _one(self, session: Session, event: Event, ports: Ports) -> Result:
        if isinstance(event, ConfigMoved) or not _concerns(event):
            return Result(event)
        mark, tip = session.mark(), session.tip
        try:
            unit = await fulfil(session, event, ports)
        except Conflict:
            raise
        except EncliiError as error:
            session.rewind(mark)
            return Result(event, error=error)
        if session.tip != tip:
            unit.add(session.tip_unit())
        return Result(event, unit.step())


def _known_move(event: Event, tip: ConfigTip) -> bool:
    """The hint of a move that is recorded already, as most are: the committer's own."""
    return isinstance(event, ConfigMoved) and event.commit == tip.commit
