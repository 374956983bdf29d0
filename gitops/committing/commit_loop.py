"""The committer's loop: take what waits, have it made true in git, record it in order, then acknowledge.

After a result that can't be recorded nothing later is: the events come again, and what git already holds is found
there by its trailers and recorded then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence

from gitops.committing.committer import Committer, Result
from gitops.committing.recording import record
from pipeline import jobs, measures, tracing
from pipeline.bus import Message
from pipeline.errors import EncliiError, Retryable
from pipeline.events import Event, ReleaseReady
from pipeline.log import bound
from pipeline.names import service_id
from pipeline.needs import COMMITTER_TAKES, subject_of
from pipeline.outcome import Park, outcome
from pipeline.records import Decision, Job, JobStatus
from pipeline.store import Change, Step, Store
from pipeline.trace import trace_id
from pipeline.worker import ACK_WAIT, Stage, beating, event_of, give_back, set_aside, settle, until

log = logging.getLogger(__name__)

CONSUMER = "committer"
GROUP = 200
LINGER = 0.004
ENDS: dict[str, JobStatus] = {
    "accepted": "deployed",
    "forced": "deployed",
    "held": "held",
    "waiting": "held",
    "skipped": "skipped",
}


async def commit_forever(committer: Committer, store: Store, stopping: asyncio.Event) -> None:
    """Run until ``stopping`` is set; the group in hand is finished first."""
    subjects = [subject_of(kind) for kind in COMMITTER_TAKES]
    stage = Stage(CONSUMER, COMMITTER_TAKES, _never)
    async with store.bus.consume("PIPE", CONSUMER, subjects, ack_wait=ACK_WAIT, inflight=GROUP) as messages:
        async for group in grouped(until(messages, stopping)):
            async with beating(group):
                await _settle(committer, store, stage, group)


async def grouped(messages: AsyncIterator[Message]) -> AsyncIterator[list[Message]]:
    """What has arrived, as groups: the first is waited for, the others only for a moment each."""
    following: asyncio.Future[Message] | None = None
    while True:
        following = following or asyncio.ensure_future(anext(messages))
        try:
            group = [await following]
        except StopAsyncIteration:
            return
        following = None
        while len(group) < GROUP:
            following = asyncio.ensure_future(anext(messages))
            done, _ = await asyncio.wait({following}, timeout=LINGER)
            if not done or following.exception() is not None:
                break
            group.append(following.result())
        yield group


async def _settle(committer: Committer, store: Store, stage: Stage, group: Sequence[Message]) -> None:
    known = [(message, event_of(message)) for message in group]
    waiting = {event.id: message for message, event in known if event is not None}
    left = [event for _, event in known if event is not None]
    recorded, began = True, time.monotonic()
    while left and recorded:
        results = await _handled(committer, left)
        left = left[sum(one.event is not None for one in results) :]
        for some in _runs(results):
            done = await _record(store, stage, some, waiting) if recorded else 0
            recorded = done == len(some)
            _measure(some[:done], time.monotonic() - began)
            await asyncio.gather(*(waiting[one.event.id].retry(0.2) for one in some[done:] if one.event is not None))
    await asyncio.gather(*(waiting[event.id].retry(0.2) for event in left))
    for message, event in known:
        if event is None:
            await set_aside(CONSUMER, store, message)


def _measure(done: Sequence[Result], seconds: float) -> None:
    """A group is one piece of work: each of its events took as long as the group until then."""
    for one in done:
        if one.event is not None and one.error is None:
            trace = trace_id(one.event.trace)
            measures.EVENTS.observe(CONSUMER, one.event.type, "done", seconds=seconds, trace=trace)
            tracing.processed(CONSUMER, one.event, seconds, links=[])
            _tell(one, trace)


def _tell(done: Result, trace: str) -> None:
    """One line for each decision, which says more than that an event was handled."""
    for one in done.decisions:
        service = service_id(one.project, one.service) if one.service else ""
        with bound(run=one.run, service=service, commit=one.sha[:12], environment=one.environment, trace=trace):
            log.info("%s: %s", one.outcome, (one.message or one.reason).partition("\n")[0])


async def _handled(committer: Committer, events: Sequence[Event]) -> Sequence[Result]:
    try:
        return await committer.handle(events)
    except Exception as error:
        log.exception("the group could not be handled")
        return [Result(event, error=_wrapped(error)) for event in events]


def _runs(results: Sequence[Result]) -> list[list[Result]]:
    """What was done, as long runs that are recorded together; what failed, each alone."""
    runs: list[list[Result]] = []
    for result in results:
        if not runs or result.error is not None or runs[-1][0].error is not None:
            runs.append([])
        runs[-1].append(result)
    return runs


async def _record(store: Store, stage: Stage, some: Sequence[Result], waiting: dict[str, Message]) -> int:
    """Make the steps true and acknowledge their events; how many are, and when not all are nothing later may be."""
    first = some[0]
    if first.error is not None and first.event is not None:
        return int(await _give_back(store, stage, first.event, first.error, waiting[first.event.id]))
    try:
        done, stopped = await record(store, await asyncio.gather(*(_with_job(store, one) for one in some)))
    except EncliiError as error:
        done, stopped = 0, error
    await asyncio.gather(*(waiting[one.event.id].ack() for one in some[:done] if one.event is not None))
    if stopped is not None:
        log.warning("not recorded yet, comes again: %s", stopped)
    return done


async def _give_back(store: Store, stage: Stage, event: Event, error: EncliiError, message: Message) -> bool:
    """Retry or park the event; a job that is given up on is told so first. False when that can't be recorded now."""
    decided = outcome(error, message.deliveries)
    if isinstance(decided, Park) and isinstance(event, ReleaseReady):
        try:
            await settle(lambda wanted: jobs.failed_step(wanted, error, store), event, store)
        except EncliiError as unrecorded:
            log.warning("could not record the failure of %s: %s", event.id, unrecorded)
            return False
    await give_back(stage, store, message, event, error)
    return True


async def _with_job(store: Store, result: Result) -> Step:
    """The step with the end of the job that asked for it."""
    if not isinstance(result.event, ReleaseReady):
        return result.step
    found = await jobs.open_job(store, result.event.run, result.event.service, "committing")
    if found is None:
        return result.step
    change = Change(_ended(found.record, result.decisions), found.seq)
    return Step((*result.step.changes, change), result.step.events)


def _ended(job: Job, decisions: Sequence[Decision]) -> Job:
    """The job's end by what was decided for its environments: deployed anywhere counts as deployed."""
    ends = [(ENDS.get(one.outcome, "failed"), one) for one in decisions if one.about == "release"]
    for status in ("deployed", "held", "failed", "skipped"):
        for found, why in ends:
            if found == status:
                plain = status == "deployed"
                return jobs.ended(job, found, reason="" if plain else why.reason, message="" if plain else why.message)
    return jobs.ended(job, "deployed")


def _wrapped(error: Exception) -> EncliiError:
    return error if isinstance(error, EncliiError) else Retryable(type(error).__name__, reason="unexpected")


async def _never(_: Event) -> Step:
    raise AssertionError("the committer handles its events in groups")
