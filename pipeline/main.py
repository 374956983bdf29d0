"""What the main of every process shares: settings, log, bus, the loopback port, and an orderly end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from pipeline import durability, log, structure
from pipeline.bus import Bus
from pipeline.errors import EncliiError, Unavailable
from pipeline.measures import Source
from pipeline.ops import Check, Route, ops_server
from pipeline.settings import Settings
from pipeline.store import Store

START_LIMIT = 60.0


@dataclass
class Process:
    """One running process: its settings, its store, and the event that says it shall end."""

    name: str
    settings: Settings
    store: Store
    stopping: asyncio.Event
    routes: dict[str, Route] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)  # of readiness
    gauges: list[Source] = field(default_factory=list)  # read for /metrics


Body = Callable[[Process], Awaitable[None]]


def main(name: str, body: Body) -> None:
    """Run ``body`` until SIGTERM or SIGINT; exit 2 with every problem of the configuration, 1 on failure."""
    try:
        settings = Settings.from_env(os.environ, process=name)
    except EncliiError as error:
        sys.stderr.write(f"{name}: the configuration has problems:\n{error}\n")
        sys.exit(2)
    _own_temporary_folder(settings, name)
    log.set_up(name, settings.log_format, level=settings.log_level)  # type: ignore[arg-type]
    try:
        uvloop.run(_run(name, settings, body))
    except* EncliiError as group:
        logging.getLogger(name).error("%s", group.exceptions[0])
        sys.exit(1)


def _own_temporary_folder(settings: Settings, name: str) -> None:
    """Temporary files go into the state folder, emptied at each start: a process that was killed cleans up so."""
    folder = settings.below_home(Path("tmp") / name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    tempfile.tempdir = str(folder)


async def _run(name: str, settings: Settings, body: Body) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    bus = await structure.connected(settings, name, wait=START_LIMIT)
    process = Process(name, settings, Store(bus, source=name), stopping, checks={"nats": _answers(bus)})
    if bus.restricted:
        process.checks["rights"] = structure.rights_check(bus, settings.nats_user)
        process.routes["/rights"] = structure.rights_view(bus, settings.nats_user)
    exporting = _exporter(settings, name)
    keeping = asyncio.ensure_future(structure.kept(bus, settings))
    try:
        await durability.demand_nats(settings.nats_monitor_url, settings.durability)
        await structure.stand(bus, settings, wait=START_LIMIT)
        told = (process.checks, process.routes, process.gauges)
        async with ops_server(settings.ops_port, *told, host=settings.ops_host):
            await _until_stopped(process, body)
    finally:
        keeping.cancel()
        await bus.close()
        await asyncio.to_thread(exporting)


def _exporter(settings: Settings, name: str) -> Callable[[], None]:
    """Where traces are wanted, send them; what is answered ends that."""
    if not settings.otlp_endpoint:
        return lambda: None
    from pipeline import tracing
    from pipeline.otlp import Exporter

    exporter = Exporter(settings.otlp_endpoint, process=name, instance=settings.instance)
    tracing.export_to(exporter)
    return exporter.close


async def _until_stopped(process: Process, body: Body) -> None:
    """Run the body; after the signal it may finish what it has in hand, for as long as ``drain`` says."""
    work = asyncio.ensure_future(body(process))
    stop = asyncio.ensure_future(process.stopping.wait())
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        await asyncio.wait({work}, timeout=process.settings.drain)
    stop.cancel()
    if not work.done():
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _answers(bus: Bus) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        if not bus.connected:
            raise Unavailable("the event store (NATS) does not answer", reason="nats_away")

    return check


@contextlib.contextmanager
def looking_for(process: Process, what: str) -> Iterator[None]:
    """Not ready while the block looks for what the process works with, nor afterwards if it was not found."""

    async def missing() -> None:
        raise Unavailable(f"{what} was not found yet; the log says why", reason="starting")

    process.checks["start"] = missing
    yield
    del process.checks["start"]


def room(settings: Settings, name: str) -> Path:
    """A folder of this process's own inside the state folder."""
    path = settings.below_home(Path(name))
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


@contextlib.asynccontextmanager
async def in_background(*work: Awaitable[None]) -> AsyncIterator[None]:
    """Run endless work beside the block; its failure ends the block, the block's end ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_awaited(one)) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _awaited(work: Awaitable[None]) -> None:
    await work
