"""What other processes may ask of the clusters, by request and reply over NATS: the syncer alone has credentials.

Lines are handed over in batches, each asked for: a reader that is slow slows the cluster's side down, and one that is
gone is forgotten. Nothing of it is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol
from uuid import uuid4

import msgspec

from gitops import emit
from gitops.clusters import AWAY, Cluster, Finding, LogLine, ServiceRef
from gitops.clusters.questions import AboutService, Places
from pipeline.bus import Bus
from pipeline.errors import EncliiError, Permanent, Refused, Unavailable

log = logging.getLogger(__name__)

OPEN: Final = "rq.clusters.logs"
CHECK: Final = "rq.clusters.check"
LINES: Final = "rq.clusters.lines"
DIFF: Final = "rq.clusters.diff"
MANIFEST: Final = "rq.clusters.manifest"
BATCH, BATCH_BYTES, AHEAD = 500, 256 << 10, 2_000
WAIT: Final = 1.0
IDLE_LIMIT: Final = 30.0
ASK_LIMIT: Final = 15.0
LONG_LIMIT: Final = 30.0
"""For what asks the cluster more than once; the command line waits longer."""
MOST_READERS: Final = 200


class Ask(AboutService, frozen=True, kw_only=True):
    """Whose lines are wanted."""

    follow: bool = False
    tail: int | None = None
    since: datetime.datetime | None = None


class Lines(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some lines; ``ended`` when no more come, with ``reason`` and ``message`` when that is a failure."""

    reader: str = ""
    lines: tuple[LogLine, ...] = ()
    ended: bool = False
    reason: str = ""
    message: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an apply would change, for people."""

    lines: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""


class AskManifest(AboutService, frozen=True, kw_only=True):
    """Which running Deployment is wanted as a manifest, for which service."""

    cluster: str
    namespace: str
    name: str


class Clusters(Places, Protocol):
    """What the relay needs of the syncer's clusters."""

    async def check(self) -> list[Finding]: ...

    async def running(self, ref: ServiceRef, cluster: str, namespace: str, name: str) -> dict[str, Any]: ...


Differ = Callable[[ServiceRef], Awaitable[tuple[str, ...]]]


class Relay:
    """The answering side, in the process that has the credentials."""

    def __init__(self, bus: Bus, clusters: Clusters, differ: Differ) -> None:
        self._bus = bus
        self._clusters = clusters
        self._differ = differ
        self._readers: dict[str, _Reader] = {}

    async def run(self) -> None:
        """Answer for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._bus.answer(OPEN, self._open))
                group.create_task(self._bus.answer_many(LINES, self._next))
                group.create_task(self._bus.answer_many(CHECK, self._check))
                group.create_task(self._bus.answer_many(DIFF, self._diff))
                group.create_task(self._bus.answer_many(MANIFEST, self._manifest))
        finally:
            for reader in list(self._readers.values()):
                reader.end()

    async def _open(self, question: bytes) -> bytes:
        try:
            asked = msgspec.msgpack.decode(question, type=Ask)
            if len(self._readers) >= MOST_READERS:
                raise Unavailable("too many readers of logs at the same time", reason="too_many_readers")
            cluster = await self._clusters.of(asked.ref)
        except (EncliiError, msgspec.MsgspecError) as error:
            return _failed(error)
        name = uuid4().hex
        self._readers[name] = _Reader(cluster, asked, over=lambda: self._readers.pop(name, None))
        return msgspec.msgpack.encode(Lines(reader=name))

    async def _next(self, question: bytes) -> bytes:
        reader = self._readers.get(question.decode("utf-8", "replace"))
        if reader is None:
            return _failed(Unavailable("this reader of logs was forgotten: ask again", reason="reader_gone"))
        return msgspec.msgpack.encode(await reader.next())

    async def _check(self, _: bytes) -> bytes:
        return msgspec.msgpack.encode(await self._clusters.check())

    async def _diff(self, question: bytes) -> bytes:
        try:
            return msgspec.msgpack.encode(
                Difference(lines=await self._differ(msgspec.msgpack.decode(question, type=Ask).ref))
            )
        except (EncliiError, msgspec.MsgspecError) as error:
            return _failed(error)

    async def _manifest(self, question: bytes) -> bytes:
        try:
            asked = msgspec.msgpack.decode(question, type=AskManifest)
            ref = ServiceRef(asked.project, asked.environment, asked.service)
            found = await self._clusters.running(ref, asked.cluster, asked.namespace, asked.name)
            text = emit.document(found).decode()
        except (EncliiError, msgspec.MsgspecError) as error:
            return _failed(error)
        return msgspec.msgpack.encode(Difference(lines=(text,)))


class _Reader:
    """One reader's lines, read ahead a little; forgotten when nobody asks for them."""

    def __init__(self, cluster: Cluster, asked: Ask, *, over: Callable[[], object]) -> None:
        self._queue: asyncio.Queue[LogLine | Lines] = asyncio.Queue(AHEAD)
        self._over = over
        self._task = asyncio.create_task(self._read(cluster, asked))
        self._forget = asyncio.get_running_loop().call_later(IDLE_LIMIT, self.end)

    def end(self) -> None:
        """Stop reading."""
        self._forget.cancel()
        self._task.cancel()
        self._over()

    async def next(self) -> Lines:
        """What is there, or the first that comes within a second."""
        self._forget.cancel()
        self._forget = asyncio.get_running_loop().call_later(IDLE_LIMIT, self.end)
        found: list[LogLine] = []
        try:
            async with asyncio.timeout(WAIT):
                item = await self._queue.get()
        except TimeoutError:
            return Lines()
        size = 0
        while isinstance(item, LogLine):
            found.append(item)
            size += len(item.text)
            if len(found) >= BATCH or size >= BATCH_BYTES or self._queue.empty():
                return Lines(lines=tuple(found))
            item = self._queue.get_nowait()
        self.end()
        return msgspec.structs.replace(item, lines=tuple(found))

    async def _read(self, cluster: Cluster, asked: Ask) -> None:
        try:
            lines = cluster.logs(asked.ref, follow=asked.follow, tail=asked.tail, since=asked.since)
            async with contextlib.aclosing(lines):  # type: ignore[type-var]
                async for line in lines:
                    await self._queue.put(line)
        except EncliiError as error:
            await self._queue.put(Lines(ended=True, reason=error.reason, message=error.message))
        except Exception:
            log.exception("reading the lines of %s broke off", asked.ref)
            await self._queue.put(Lines(ended=True, reason="logs_broken", message="reading the lines broke off"))
        else:
            await self._queue.put(Lines(ended=True))


class Relayed:
    """The asking side: the clusters as a process without credentials sees them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def logs(
        self, ref: ServiceRef, *, follow: bool, tail: int | None, since: datetime.datetime | None
    ) -> AsyncIterator[LogLine]:
        """The lines of all replicas, merged. Raises Unavailable when the syncer, or its cluster, does not answer."""
        asked = _asked(ref, follow=follow, tail=tail, since=since)
        opened = _lines(await self._bus.ask(OPEN, msgspec.msgpack.encode(asked), timeout=ASK_LIMIT))
        while True:
            some = _lines(await self._bus.ask(LINES, opened.reader.encode(), timeout=ASK_LIMIT))
            for line in some.lines:
                yield line
            if some.ended:
                return

    async def check(self) -> list[Finding]:
        """What the clusters say about themselves."""
        try:
            answer = await self._bus.ask(CHECK, b"", timeout=ASK_LIMIT)
        except Unavailable as error:
            return [Finding("error", "clusters", f"the syncer does not answer: {error.message}", "enclii up -d")]
        return msgspec.msgpack.decode(answer, type=list[Finding])

    async def diff(self, ref: ServiceRef) -> tuple[str, ...]:
        """What an apply of what git says would change."""
        answer = await self._bus.ask(DIFF, msgspec.msgpack.encode(_asked(ref)), timeout=LONG_LIMIT)
        found = msgspec.msgpack.decode(answer, type=Difference)
        if found.reason:
            raise _told(found)
        return found.lines

    async def manifest(self, asked: AskManifest) -> str:
        """A running Deployment as YAML. Raises Refused, Unavailable."""
        answer = await self._bus.ask(MANIFEST, msgspec.msgpack.encode(asked), timeout=LONG_LIMIT)
        found = msgspec.msgpack.decode(answer, type=Difference)
        if found.reason:
            raise _told(found)
        return found.lines[0]


def _asked(
    ref: ServiceRef, *, follow: bool = False, tail: int | None = None, since: datetime.datetime | None = None
) -> Ask:
    return Ask(
        project=ref.project, environment=ref.environment, service=ref.service, follow=follow, tail=tail, since=since
    )


def _told(found: Difference) -> EncliiError:
    """A cluster that is away may answer later; anything else it has said no to."""
    return (Unavailable if found.reason in AWAY else Refused)(found.message, reason=found.reason)


def _lines(answer: bytes) -> Lines:
    found = msgspec.msgpack.decode(answer, type=Lines)
    if found.reason:
        raise Unavailable(found.message, reason=found.reason, delay=2.0)
    return found


def _failed(error: Exception) -> bytes:
    known = error if isinstance(error, EncliiError) else Permanent("the question cannot be read", reason="bad_question")
    return msgspec.msgpack.encode(Lines(ended=True, reason=known.reason, message=known.message))
