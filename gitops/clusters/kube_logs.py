"""The lines of a service's containers: read once, or followed through restarts and rollouts without loss or repetition.

The API server resumes by whole seconds only, so each reader asks again for the last seconds and drops the lines that it
has told already, one by one: streams of one container are not in the order of their times.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gitops.clusters import LogLine
from gitops.clusters.kube_api import Api, path_of
from gitops.clusters.kube_objects import PREFIX, ContainerStatus, Pod
from pipeline.errors import EncliiError, Permanent

NANO = 1_000_000_000
OVERLAP = 2 * NANO
QUIET_SECONDS = 3_600.0
MOST_LINES = 10_000
RETRY_AFTER = 0.25
MOST_RETRY = 5.0
QUEUE = 10_000

Pods = Callable[[], list[Pod]]
Moved = Callable[[], asyncio.Event]


def parse(raw: bytes, *, replica: str, release: str) -> LogLine | None:
    """One line with its time in front; None for what carries none (the kubelet's own complaints)."""
    stamp, _, text = raw.rstrip(b"\r\n").partition(b" ")
    head, dot, rest = stamp.rstrip(b"Z").partition(b".")
    try:
        whole = datetime.strptime(head.decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        nanoseconds = int(whole.timestamp()) * NANO + int((rest if dot else b"0").ljust(9, b"0")[:9])
    except ValueError:
        return None
    return LogLine(nanoseconds, replica, release, "stdout", text)


def stamp(nanoseconds: int) -> str:
    """The second of a time, as the API server takes it."""
    return datetime.fromtimestamp(nanoseconds // NANO, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Told:
    """The lines of one container that were handed over within the last seconds."""

    last: int = 0
    _recent: Counter[tuple[int, bytes]] = field(default_factory=Counter)
    _skip: Counter[tuple[int, bytes]] = field(default_factory=Counter)

    def resume(self) -> int:
        """From which time to read again; what comes twice is then dropped as often as it was told."""
        self._recent = Counter({key: count for key, count in self._recent.items() if key[0] >= self._from})
        self._skip = Counter(self._recent)
        return self._from

    def fresh(self, line: LogLine) -> bool:
        """Whether the line was not told yet; it counts as told from now on."""
        key = (line.time, line.text)
        if self._skip[key] > 0:
            self._skip[key] -= 1
            return False
        self.last = max(self.last, line.time)
        self._recent[key] += 1
        if len(self._recent) > QUEUE:
            self._recent = Counter({key: count for key, count in self._recent.items() if key[0] >= self._from})
        return True

    @property
    def _from(self) -> int:
        return max((self.last - OVERLAP) // NANO * NANO, 0)


class Reader:
    """Reads one container of one pod."""

    def __init__(self, api: Api, pod: Pod, container: str) -> None:
        several = len(pod.spec.containers) + len(pod.spec.init_containers) > 1
        self._api = api
        self._path = path_of("api", "v1", "namespaces", pod.metadata.namespace, "pods", pod.metadata.name, "log")
        self._container = container
        self._replica = f"{pod.metadata.name}/{container}" if several else pod.metadata.name
        self._release = pod.metadata.annotations.get(PREFIX + "release", "").rpartition(".")[2]
        self.told = Told()

    async def read(self, *, tail: int | None = None, since: int | None = None, previous: bool = False) -> list[LogLine]:
        """What is there now, in the container's order; nothing of a container that never ran."""
        query = {"tailLines": str(min(tail if tail is not None else MOST_LINES, MOST_LINES))}
        if since:
            query["sinceTime"] = stamp(since)
        try:
            data = await self._api.get(self._path, self._query(query, previous), doing="read a log")
        except Permanent:
            return []
        found = (parse(raw, replica=self._replica, release=self._release) for raw in data.split(b"\n") if raw)
        return [line for line in found if line is not None and line.time >= (since or 0)]

    async def follow(self, sink: Callable[[LogLine], Awaitable[None]]) -> None:
        """Hand over each further line until the container ends. Raises Unavailable, Permanent."""
        start = self.told.resume()
        query = {"follow": "true", **({"sinceTime": stamp(start)} if start else {})}
        lines = self._api.lines(self._path, self._query(query, False), doing="follow a log", quiet=QUIET_SECONDS)
        async with contextlib.aclosing(lines):
            async for raw in lines:
                line = parse(raw, replica=self._replica, release=self._release)
                if line is not None and self.told.fresh(line):
                    await sink(line)

    async def missed(self, sink: Callable[[LogLine], Awaitable[None]]) -> None:
        """What the container's previous life printed behind the last line that was told."""
        start = self.told.resume()
        for line in await self.read(since=start or None, previous=True):
            if self.told.fresh(line):
                await sink(line)

    def _query(self, query: dict[str, str], previous: bool) -> dict[str, str]:
        given = {"container": self._container, "timestamps": "true", **query}
        return {**given, "previous": "true"} if previous else given


Slot = tuple[str, str]


class Follower:
    """Merges the logs of all pods that ``pods`` shows, now and later."""

    def __init__(self, api: Api, pods: Pods, moved: Moved, *, since: int | None, tail: int | None) -> None:
        self._api = api
        self._pods = pods
        self._moved = moved
        self._since = since
        self._tail = tail
        self._readers: dict[Slot, Reader] = {}
        self._tasks: dict[Slot, asyncio.Task[None]] = {}
        self._queue: asyncio.Queue[LogLine] = asyncio.Queue(QUEUE)

    async def snapshot(self, *, previous: bool = False) -> list[LogLine]:
        """What is there now, merged by time; following then goes on from here."""
        readers = [(self._reader(pod, status), status) for pod in self._pods() for status in _containers(pod)]
        parts = await asyncio.gather(*(self._first(reader, status, previous) for reader, status in readers))
        merged = list(heapq.merge(*parts, key=lambda line: line.time))
        kept = merged if self._tail is None else merged[len(merged) - min(self._tail, len(merged)) :]
        if not previous:
            for (reader, _), lines in zip(readers, parts, strict=True):
                for line in lines:
                    reader.told.fresh(line)
        return kept

    async def follow(self) -> AsyncGenerator[LogLine, None]:
        looking = asyncio.create_task(self._look())
        asked = asyncio.create_task(self._queue.get())
        try:
            while True:
                await asyncio.wait({asked, looking}, return_when=asyncio.FIRST_COMPLETED)
                if not asked.done():
                    await looking
                    return
                yield asked.result()
                while not self._queue.empty():
                    yield self._queue.get_nowait()
                asked = asyncio.create_task(self._queue.get())
        finally:
            tasks = (looking, asked, *self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first(self, reader: Reader, status: ContainerStatus, previous: bool) -> list[LogLine]:
        if previous:
            return await reader.read(tail=self._tail, since=self._since, previous=True)
        before = status.restart_count > 0 and status.state.running is not None
        older = await reader.read(tail=self._tail, since=self._since, previous=True) if before else []
        return older + await reader.read(tail=self._tail, since=self._since)

    def _reader(self, pod: Pod, status: ContainerStatus) -> Reader:
        slot = (pod.metadata.uid, status.name)
        if slot not in self._readers:
            self._readers[slot] = Reader(self._api, pod, status.name)
        return self._readers[slot]

    async def _look(self) -> None:
        """A task for each container that there is."""
        while True:
            moved = self._moved()
            for pod in self._pods():
                for status in _containers(pod):
                    slot = (pod.metadata.uid, status.name)
                    if slot not in self._tasks:
                        self._tasks[slot] = asyncio.create_task(self._lives(slot, self._reader(pod, status)))
            for slot in [slot for slot, task in self._tasks.items() if task.done() and not self._status(slot)]:
                del self._tasks[slot], self._readers[slot]
            await moved.wait()

    async def _lives(self, slot: Slot, reader: Reader) -> None:
        """One container through all its restarts, until its pod is gone."""
        known, wait = -1, RETRY_AFTER
        while (status := self._status(slot)) is not None:
            moved = self._moved()
            if (status.restart_count == known and status.state.running is None) or not _started(status):
                await moved.wait()
                continue
            again, known = status.restart_count == known, status.restart_count
            try:
                if not again and known > 0 and reader.told.last:
                    await reader.missed(self._queue.put)
                await reader.follow(self._queue.put)
                wait = RETRY_AFTER if not again else wait
            except EncliiError:
                pass  # away, or gone in this moment: the watch says which
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await moved.wait()
            wait = min(wait * 2, MOST_RETRY)

    def _status(self, slot: Slot) -> ContainerStatus | None:
        for pod in self._pods():
            if pod.metadata.uid == slot[0]:
                return next((one for one in _containers(pod) if one.name == slot[1]), None)
        return None


def _started(status: ContainerStatus) -> bool:
    return status.state.running is not None or status.state.terminated is not None or status.restart_count > 0


def _containers(pod: Pod) -> list[ContainerStatus]:
    return [*pod.status.init_container_statuses, *pod.status.container_statuses]
