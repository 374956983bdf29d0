"""What Enclii adds to a build, and how fairly and visibly it builds; on a real daemon, registry and event store.

- ``build.over_buildctl``: the build step, log included, minus buildctl itself with the same arguments, one file changed
  each time, in turn on one warm daemon.
- ``queue.fairness``: builder-seconds of four repositories, one with 50 builds queued, while all four wait (Jain).
- ``log.first_line``: from a step's printing, by the machine's own clock, to a reader of the stored log.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pipeline.build_log import LogLine
from pipeline.builders import BuildJob, Limits, buildkit_daemon
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.buildkit_commands import Daemon, Room, build_command
from pipeline.bus import Bus, connect
from pipeline.events import BuildRequested, Event
from pipeline.fair_work import work_fairly
from pipeline.log_stream import LogStream, subject
from pipeline.process import run
from pipeline.store import Step, Store
from pipeline.turns import Turns
from pipeline.worker import Stage
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.support.buildkit import running_buildkitd
from tests.support.components import needs
from tests.support.nats import running_nats
from tests.support.registry import running_registry

PAIRS = 15
LINES = 10
FLOOD, OTHERS = 50, 12
OVER = Bound("build.over_buildctl", "s", 0.2)
FAIR = Bound("queue.fairness", "Jain", 0.95, better="higher")
FIRST = Bound("log.first_line", "s", 0.5)
BASE = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"


@dataclass
class World:
    """The real components, and one builder on them."""

    folder: Path
    daemon: Daemon
    builder: Buildkit
    registry: str
    bus: Bus

    def context(self, name: str, dockerfile: str) -> BuildJob:
        """A job in a folder of its own."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        shutil.copy(needs("busybox"), folder / "busybox")
        (folder / "Dockerfile").write_text(dockerfile)
        return BuildJob(folder, f"{self.registry}/bench/{name}", "run-1", 1_700_000_000, plain_http=True)


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """Each wanted figure on the same components."""
    needs("buildkitd", "buildctl", "docker-registry", "nats-server", "busybox")
    parts: dict[Bound, Callable[[World], Awaitable[Figure]]] = {OVER: over, FAIR: fairness, FIRST: first_line}
    asked = [measured for bound, measured in parts.items() if bound.figure in wanted]
    with _components(folder) as (daemon, registry, nats):
        return asyncio.run(_measured(folder, daemon, registry, nats, asked))


@contextlib.contextmanager
def _components(folder: Path) -> Iterator[tuple[Daemon, str, str]]:
    with (
        running_buildkitd() as daemon,
        running_registry(folder / "registry") as registry,
        running_nats(folder / "nats") as nats,
    ):
        yield daemon, registry, nats


async def _measured(
    folder: Path, daemon: Daemon, registry: str, nats: str, asked: list[Callable[[World], Awaitable[Figure]]]
) -> list[Figure]:
    bus = await connect(nats, name="bench")
    await bus.create_streams()
    facts = await buildkit_daemon.ask(daemon)
    builder = Buildkit(daemon, facts, folder / "state", Limits(), network="private", cage=None)
    await builder.sweep()
    world = World(folder, daemon, builder, registry, bus)
    try:
        return [await measured(world) for measured in asked]
    finally:
        await builder.close()
        await bus.close()


async def over(world: World) -> Figure:
    """Pairs of builds, ours and by hand, each with one changed file."""
    job = world.context("over", BASE + "RUN echo warm > /x\nCOPY page /page\nRUN echo after > /y\n")
    ours, theirs = [], []
    for number in range(PAIRS + 1):
        (job.context / "page").write_text(f"ours {number}")
        begun = time.monotonic()
        log = LogStream(world.bus, f"r-{number}", "over")
        await world.builder.build(job, log.sink)
        await log.end()
        ours.append(time.monotonic() - begun)
        (job.context / "page").write_text(f"by hand {number}")
        theirs.append(await _by_hand(world, job))
    over_it = [mine - other for mine, other in zip(ours[1:], theirs[1:], strict=True)]  # the first pair warms up
    return median_of(OVER, over_it, ours=_rounded(ours[1:]), by_hand=_rounded(theirs[1:]))


async def _by_hand(world: World, job: BuildJob) -> float:
    room = Room(world.folder / "hand")
    room.dockerfile.mkdir(parents=True, exist_ok=True)
    shutil.copy(job.context / "Dockerfile", room.dockerfile / "Dockerfile")
    argv = build_command(world.daemon, job, room, Limits(), network="private", cgroup="")
    begun = time.monotonic()
    await run(argv, timeout=60, env={"SOURCE_DATE_EPOCH": str(job.timestamp), "HOME": str(room.path)})
    return time.monotonic() - begun


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


async def first_line(world: World) -> Figure:
    """A step prints the machine's uptime; the reader of the stored log compares it with its own."""
    took = []
    for number in range(LINES):
        step = f"RUN echo {number}; /bin/busybox cat /proc/uptime; /bin/busybox sleep 1\n"
        job, log = world.context("line", BASE + step), LogStream(world.bus, f"l-{number}", "line")
        building = asyncio.create_task(world.builder.build(job, log.sink))
        took.append(await _read(world.bus, subject(f"l-{number}", "line")))
        await building
    return median_of(FIRST, took)


async def _read(bus: Bus, of: str) -> float:
    async with asyncio.timeout(30), bus.watch(of) as messages:
        async for message in messages:
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            for line in message.data.splitlines():
                entry = msgspec.json.decode(line)
                words = str(entry.get("l", "")).split()
                if entry.get("s") == "stdout" and len(words) == 2:
                    return now - float(words[0])
    raise AssertionError("the log ended without the line")


async def fairness(world: World) -> Figure:
    """Real builds of four repositories in turns, until one of the smaller queues is empty."""
    store, stopping = Store(world.bus), asyncio.Event()
    seconds: dict[str, float] = defaultdict(float)
    left = {"flood": FLOOD, "a": OTHERS, "b": OTHERS, "c": OTHERS}
    built = []

    async def handle(event: Event) -> Step:
        assert isinstance(event, BuildRequested)
        if stopping.is_set():
            return Step()
        pause = {"flood": 0.4, "a": 0.1, "b": 0.2, "c": 0.1}[event.repository]
        step = f"RUN echo {event.id} > /x; /bin/busybox sleep {pause}\n"
        job = world.context(event.id.replace("/", "-"), BASE + step)
        begun = time.monotonic()
        await world.builder.build(replace(job, repository=f"{world.registry}/bench/fair"), _discard)
        seconds[event.repository] += time.monotonic() - begun
        built.append(event.repository)
        left[event.repository] -= 1
        if not left[event.repository]:
            stopping.set()
        return Step()

    wanted = [_request(name, number) for name, count in left.items() for number in range(count)]
    await store.publish(*wanted)
    await work_fairly(
        Stage("bench", (BuildRequested,), handle), store, stopping,
        turns=Turns(2, cap=1), share=lambda event: getattr(event, "repository", ""), gate=_open,
    )  # fmt: skip
    values = [seconds[name] for name in left]
    index = sum(values) ** 2 / (len(values) * sum(value * value for value in values))
    detail = {name: round(seconds[name], 2) for name in left} | {"builds": len(built)}
    return Figure(FAIR, index, len(built), detail)


def _request(repository: str, number: int) -> BuildRequested:
    return BuildRequested(
        id=f"{repository}/{number}", run=f"{repository}-{number}", project="bench", service="web",
        repository=repository, source_url="", ref="refs/heads/main", sha="", tree="", build_key="",
        spec=msgspec.Raw(b"{}"), commit_time=0, source="", dockerfile="Dockerfile",
    )  # fmt: skip


async def _discard(_line: LogLine) -> None:
    return None


async def _open() -> None:
    return None


FAMILY = Family((OVER, FIRST, FAIR), measure)
