"""The lines of podman's containers: read once, or followed through restarts without loss or repetition.

``podman logs -f`` ends when the container does, even if podman starts it again, so it is reopened behind the last line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast

from gitops.clusters import LogLine
from gitops.clusters import podman_commands as commands
from pipeline import process
from pipeline.process import CommandFailed, CommandTimeout

STAMP = re.compile(rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?(.*)$", re.DOTALL)
MOST_LINES = 10_000
REOPEN_AFTER = 3_600.0
LOOK_EVERY = 0.5
Sink = Callable[[LogLine], Awaitable[None]]


def parse(raw: bytes, *, replica: str, release: str, stream: str) -> LogLine | None:
    """One line of ``podman logs -t``; None for what carries no time (podman's own complaints)."""
    match = STAMP.match(raw)
    if match is None:
        return None
    whole, fraction, zone, text = match.groups()
    moment = datetime.fromisoformat((whole + (b"+00:00" if zone == b"Z" else zone)).decode())
    nanoseconds = int(moment.timestamp()) * 1_000_000_000 + int((fraction or b"0").ljust(9, b"0"))
    return LogLine(nanoseconds, replica, release, cast("Literal['stdout', 'stderr']", stream), text.rstrip(b"\r"))


def stamp(nanoseconds: int) -> str:
    """The same moment as podman's ``--since`` takes it; a datetime would lose the last three digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


@dataclass
class Reader:
    """Reads one container's log in order and knows which line came last."""

    container: str
    replica: str
    release: str
    env: Mapping[str, str]
    last: int = 0
    _seen: dict[str, int] = field(default_factory=dict)
    """How many lines of each stream carry exactly ``last``: one read of a pipe stamps all its lines alike."""

    async def read(self, *, tail: int | None = None, since: int | None = None) -> list[LogLine]:
        """What is there now, oldest first."""
        found: list[LogLine] = []

        async def keep(line: LogLine) -> None:
            found.append(line)

        after = stamp(since) if since is not None else None
        argv = commands.logs(self.container, tail=MOST_LINES if tail is None else tail, since=after)
        await self._run(argv, keep, deadline=30.0)
        return sorted(found, key=lambda line: line.time)

    async def follow(self, sink: Sink) -> None:
        """Hand over every further line until the container ends; may be called again afterwards."""
        skip = dict(self._seen)
        at = self.last

        async def fresh(line: LogLine) -> None:
            if line.time == at and skip.get(line.stream, 0) > 0:
                skip[line.stream] -= 1
            else:
                await sink(line)
                self._remember(line)

        since = stamp(self.last - 1) if self.last else None
        argv = process.orphan_proof(commands.logs(self.container, follow=True, since=since))
        await self._run(argv, fresh, deadline=REOPEN_AFTER, remember=False)

    def _remember(self, line: LogLine) -> None:
        if line.time > self.last:
            self.last = line.time
            self._seen = {}
        if line.time == self.last:
            self._seen[line.stream] = self._seen.get(line.stream, 0) + 1

    async def _run(self, argv: tuple[str, ...], sink: Sink, *, deadline: float, remember: bool = True) -> None:
        async def take(stream: str, raw: bytes) -> None:
            line = parse(raw, replica=self.replica, release=self.release, stream=stream)
            if line is not None:
                await sink(line)
                if remember:
                    self._remember(line)

        await process.stream(argv, take, timeout=deadline, env=self.env, grace=0.5)


Listing = Callable[[], Awaitable[list[dict[str, Any]]]]


class Follower:
    """Merges the logs of all containers that ``listing`` shows, now and later."""

    def __init__(self, listing: Listing, env: Mapping[str, str], since: int | None, tail: int | None) -> None:
        self._listing = listing
        self._env = env
        self._since = since
        self._tail = tail
        self._readers: dict[str, Reader] = {}
        self._state: dict[str, object] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._queue: asyncio.Queue[LogLine] = asyncio.Queue(maxsize=1_000)

    async def snapshot(self) -> list[LogLine]:
        """What is there now, merged by time; following then goes on from here."""
        found = await self._listing()
        lines = await asyncio.gather(*(self._first(item) for item in found))
        merged = sorted((line for some in lines for line in some), key=lambda line: line.time)
        return merged if self._tail is None else merged[len(merged) - min(self._tail, len(merged)) :]

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
                asked = asyncio.create_task(self._queue.get())
        finally:
            tasks = (looking, asked, *self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _first(self, item: Mapping[str, Any]) -> list[LogLine]:
        reader = self._reader(item)
        try:
            return await reader.read(tail=self._tail, since=self._since)
        except (CommandFailed, CommandTimeout):
            return []

    def _reader(self, item: Mapping[str, Any]) -> Reader:
        labels = item["Labels"]
        known = self._readers.get(item["Id"])
        if known is None:
            name, release = labels[commands.PREFIX + "pod"], labels.get(commands.PREFIX + "release", "")
            known = self._readers[item["Id"]] = Reader(item["Id"], name, release, self._env)
        return known

    async def _look(self) -> None:
        """Open a reader for each container that is new, runs, or ran again since its reader ended."""
        while True:
            found = await self._listing()
            for gone in self._readers.keys() - {item["Id"] for item in found}:
                if gone not in self._tasks or self._tasks[gone].done():
                    del self._readers[gone]
            for item in found:
                task = self._tasks.get(item["Id"])
                state = (item.get("State"), item.get("StartedAt"), item.get("ExitedAt"))
                if (task is None or task.done()) and (
                    item["State"] == "running" or state != self._state.get(item["Id"])
                ):
                    self._state[item["Id"]] = state
                    self._tasks[item["Id"]] = asyncio.create_task(self._follow(self._reader(item)))
            await asyncio.sleep(LOOK_EVERY)

    async def _follow(self, reader: Reader) -> None:
        try:
            await reader.follow(self._queue.put)
        except (CommandFailed, CommandTimeout):
            return
