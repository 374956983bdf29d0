"""The loop of every stage: take an event, beat while it is handled, make its step true, then acknowledge.

A stage is a function from an event to a Step. It may be called again for the same event at any time, so it reads
its state first and returns an empty Step when the work is already done. The order is fixed: side effects, then one
atomic batch of state and next events, then the acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline import measures, tracing
from pipeline.bus import Message
from pipeline.errors import Conflict, EncliiError, Retryable
from pipeline.events import TYPES, Delivery, Event, decode
from pipeline.log import bound
from pipeline.measures import Ended
from pipeline.names import service_id, token
from pipeline.needs import subject_of
from pipeline.outcome import Park, outcome
from pipeline.records import Parked
from pipeline.store import Change, Step, Store, now
from pipeline.trace import trace_id

log = logging.getLogger(__name__)

Handler = Callable[[Event], Awaitable[Step]]
Failure = Callable[[Event, Exception], Awaitable[Step]]
"""What to record when an event is parked: the job failed, the decision is so."""

FORGES = ("local", "github", "gitlab", "gitea", "forgejo", "bitbucket")
ACK_WAIT = 10.0  # what a killed process had in hand comes again after so many seconds
CONFLICT_TRIES = 20
BRIEF_TRIES = 20


@dataclass(frozen=True)
class Stage:
    """A named consumer: which events it takes, what it does, what it records on final failure, how many at once."""

    name: str
    takes: tuple[type[Event], ...]
    handle: Handler
    failed: Failure | None = None
    at_once: int = 4

    def stream(self) -> str:
        """Deliveries have a stream of their own."""
        return "HOOKS" if any(kind.type == "delivery.received" for kind in self.takes) else "PIPE"

    def subjects(self) -> list[str]:
        """What the consumer is filtered to."""
        return [subject_of(kind) for kind in self.takes]


async def work(stage: Stage, store: Store, stopping: asyncio.Event) -> None:
    """Run ``stage`` until ``stopping`` is set; what is in hand then is finished first."""
    slots = asyncio.Semaphore(stage.at_once)
    expect(stage)
    async with (
        asyncio.TaskGroup() as group,
        store.bus.consume(stage.stream(), stage.name, stage.subjects(), ack_wait=ACK_WAIT, inflight=stage.at_once) as m,
    ):
        following = until(m, stopping)
        # The slot comes first: a message that waits for one would not be beaten for and would come a second time.
        while await slots.acquire() and (message := await anext(following, None)) is not None:
            task = group.create_task(take(stage, store, message))
            task.add_done_callback(lambda _: slots.release())


def expect(stage: Stage) -> None:
    """Say in ``/metrics`` what this stage will count, before the first time."""
    for kind in stage.takes:
        for ended in ("done", "retried"):
            measures.EVENTS.expect(stage.name, kind.type, ended)
        for forge in FORGES if kind is Delivery else ():
            for found in ("told", "sweep"):
                measures.DELIVERIES.expect(forge, found)


async def until(messages: AsyncIterator[Message], stopping: asyncio.Event) -> AsyncIterator[Message]:
    """The messages, up to the moment in which ``stopping`` is set."""
    stop = asyncio.ensure_future(stopping.wait())
    try:
        while not stopping.is_set():
            following = asyncio.ensure_future(anext(messages))
            await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
                return
            yield following.result()
    finally:
        stop.cancel()


@contextlib.asynccontextmanager
async def beating(messages: Sequence[Message]) -> AsyncIterator[None]:
    """Tell the server every few seconds that the messages are being worked on."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(ACK_WAIT / 3)
            for message in messages:
                with contextlib.suppress(Exception):  # a missed beat costs a repetition, and repetitions are harmless
                    await message.working()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


async def take(stage: Stage, store: Store, message: Message) -> None:
    """One message from its handling to its acknowledgement, or back."""
    event = event_of(message)
    if event is None:
        await set_aside(stage.name, store, message)
        return
    with handled(stage.name, event) as ended, bound(**_ids(event)):
        began = time.monotonic()
        async with beating([message]):
            try:
                await settle(stage.handle, event, store)
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):  # unheard, it comes again after ACK_WAIT
                    await message.retry(0.0)
                raise
            except Exception as error:
                ended(await give_back(stage, store, message, event, error))
                return
        await message.ack()
        log.info("%s: %s done in %.2f s", stage.name, event.type, time.monotonic() - began)


def _ids(event: Event) -> dict[str, str]:
    """What an event says of its work; its handling may learn more."""
    project, service = getattr(event, "project", ""), getattr(event, "service", "")
    commit = getattr(event, "sha", "")[:12]
    return {
        "run": getattr(event, "run", ""),
        "service": service_id(project, service) if service else "",
        "commit": commit,
    }


@contextlib.contextmanager
def handled(stage: str, event: Event) -> Iterator[Callable[[Ended], None]]:
    """Measure and trace the handling of an event; it is done unless the block says that it ended otherwise."""
    began, result = time.monotonic(), ["done"]
    with bound(trace=trace_id(event.trace)), tracing.linking() as links:
        yield lambda how: result.__setitem__(0, how)
    seconds = time.monotonic() - began
    measures.EVENTS.observe(stage, event.type, result[0], seconds=seconds, trace=trace_id(event.trace))
    tracing.processed(stage, event, seconds, links=links, error="" if result[0] == "done" else result[0])
    if isinstance(event, Delivery) and result[0] == "done":
        measures.DELIVERIES.add(event.forge, "sweep" if event.kind == "sweep" else "told")


def event_of(message: Message) -> Event | None:
    """The event in a message, by its CloudEvents type; None when this version of the program cannot read it.

    Fields that it does not know are passed over: a newer program added them. A newer version means something else.
    """
    kind, version = _kind(message)
    if kind not in TYPES or version > TYPES[kind].version:
        return None
    try:
        return decode(kind, message.data)
    except ValueError:
        return None


def _kind(message: Message) -> tuple[str, int]:
    kind, _, version = message.headers.get("ce-type", "").removeprefix("dev.enclii.").rpartition(".v")
    return kind, int(version) if version.isdecimal() else 0


async def set_aside(consumer: str, store: Store, message: Message) -> None:
    """Park what cannot be read, so that it can be sent again once a version runs that can; it is never dropped."""
    kind, version = _kind(message)
    newer = kind in TYPES and version > TYPES[kind].version
    reason = "unknown_version" if newer else "unknown_event" if kind not in TYPES else "unreadable_event"
    readable = reason != "unreadable_event"
    wrong = "is not known to this version of Enclii" if readable else "does not have the fields of that version"
    text = f"{kind[:100] or 'a message without a type'} in version {version} {wrong}"
    parked = Parked(
        id=token(consumer, message.subject)[:12], consumer=consumer, subject_parked=message.subject,
        event_type=kind[:100], reason=reason, message=text, attempts=message.deliveries, at=now(),
    )  # fmt: skip
    log.error("%s: parked %s: %s", consumer, message.subject, text)
    try:
        await store.commit(Step((Change(parked, None),)))
        await message.ack()
    except EncliiError as error:
        log.warning("could not record what is parked: %s", error)
        await message.retry(1.0)


async def settle(handle: Handler, event: Event, store: Store) -> None:
    """Handle the event and make its step true; a lost compare-and-set reads and decides anew."""
    for _ in range(CONFLICT_TRIES):
        step = await handle(event)
        try:
            await store.commit(step)
            return
        except Conflict:
            await asyncio.sleep(0)
    raise Conflict(f"the state of {event.id} kept moving", reason="state_moved")


async def give_back(stage: Stage, store: Store, message: Message, event: Event, error: Exception) -> Ended:
    """Retry later or park, as ``outcome`` says; whatever cannot be recorded is retried."""
    decided = outcome(error, message.deliveries)
    measures.FAILURES.add(stage.name, getattr(error, "reason", "unexpected"))
    expected = isinstance(error, EncliiError)
    log.log(
        _severity(error, message.deliveries),
        "%s: %s (%s, try %d)", stage.name, error, getattr(error, "reason", type(error).__name__), message.deliveries,
        exc_info=None if expected else error,
    )  # fmt: skip
    if isinstance(decided, Park):
        try:
            await _park(stage, store, event, error, decided, message)
            await message.ack()
            return "parked"
        except EncliiError as unrecorded:
            log.warning("could not record the failure of %s: %s", event.id, unrecorded)
            await message.retry(1.0)
            return "retried"
    await message.retry(decided.delay)
    return "retried"


def _severity(error: Exception, tries: int) -> int:
    """Work that waits a moment for another process's is no news, until it waits for long."""
    if not isinstance(error, EncliiError):
        return logging.ERROR
    brief = isinstance(error, Retryable) and error.delay is not None and error.delay < 1.0
    return logging.DEBUG if brief and tries <= BRIEF_TRIES else logging.WARNING


async def _park(stage: Stage, store: Store, event: Event, error: Exception, decided: Park, message: Message) -> None:
    """A failure that somebody is told of (a decision, a failed job) is recorded; the rest waits among the parked."""
    if stage.failed is not None and isinstance(error, EncliiError):
        await settle(lambda e: stage.failed(e, error), event, store)  # type: ignore[misc]
        return
    parked = Parked(
        id=token(stage.name, event.id)[:12], consumer=stage.name, subject_parked=message.subject,
        event_type=event.type, reason=decided.reason, message=decided.message, attempts=message.deliveries, at=now(),
    )  # fmt: skip
    await store.commit(Step((Change(parked, None),)))
