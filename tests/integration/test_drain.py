"""What a process does when it is told to end: it finishes what it has in hand, or hands it back, and ends with 0.

Beside that, what its loopback port says while it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.bus import connect
from pipeline.events import ImageBuilt
from pipeline.process import orphan_proof
from pipeline.records import Decision
from pipeline.store import Store
from tests.support.components import SEARCH_PATH
from tests.support.draining import BEGUN, DONE, GO, said
from tests.support.free_ports import free_port
from tests.support.line import eventually
from tests.support.nats import monitor_of, running_server

ROOT = Path(__file__).parents[2]
LIMIT = 90.0
GRACE = 60.0
EVENT = ImageBuilt(id="r-1/web", run="r-1", project="shop", service="web", image="-", sbom="-", build_key="-")
Started = subprocess.Popen[bytes]


@dataclass
class Room:
    """Processes whose one stage waits for a word, on one event store."""

    home: Path
    store: Store
    nats: str
    server: Started
    ops: int

    @contextlib.contextmanager
    def process(self, drain: str) -> Iterator[Started]:
        """The process; it may take ``drain`` for its end."""
        told = {"HOME": str(self.home), "NATS_URL": self.nats, "NATS_MONITOR_URL": monitor_of(self.nats)}
        told |= {"REGISTRY": "127.0.0.1:1", "INSTANCE": "t", "DRAIN": drain, "OPS_PORT": str(self.ops)}
        environment = {"PATH": SEARCH_PATH, **{f"ENCLII_{key}": value for key, value in told.items()}}
        argv = orphan_proof((sys.executable, "-m", "tests.support.draining"))
        with (self.home / "log").open("ab") as log:
            started = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield started
        finally:
            started.kill()
            started.wait()

    async def heard(self, word: str) -> None:
        """Until the process has said the word."""
        assert await self.store.first(Decision, word, such=lambda one: True, limit=LIMIT), self.log()

    async def is_done(self) -> bool:
        return await self.store.get(Decision, DONE) is not None

    async def answers(self, path: str, status: int) -> None:
        """Until the loopback port answers so."""
        await asyncio.to_thread(eventually, lambda: self.ask(path)[0] == status, limit=LIMIT)

    async def ended(self, process: Started) -> int:
        return await asyncio.to_thread(process.wait, GRACE)

    def log(self) -> str:
        return (self.home / "log").read_text()

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of an answer of the process's loopback port; 0 while there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()


def in_room(tmp: Path, story: Callable[[Room], Awaitable[None]]) -> None:
    async def go(nats: str, server: Started) -> None:
        async with asyncio.timeout(3 * LIMIT), _connected(nats) as store:
            await story(Room(tmp, store, nats, server, free_port()))

    with running_server(tmp / "nats") as (nats, server):
        asyncio.run(go(nats, server))


@contextlib.asynccontextmanager
async def _connected(nats: str) -> AsyncIterator[Store]:
    bus = await connect(nats, name="test")
    try:
        await bus.create_streams()
        yield Store(bus)
    finally:
        await bus.close()


def test_what_is_in_hand_is_finished_before_the_end(tmp_path: Path) -> None:
    async def story(room: Room) -> None:
        with room.process("60s") as process:
            await room.store.publish(EVENT)
            await room.heard(BEGUN)
            process.send_signal(signal.SIGTERM)
            assert room.ask("/healthz")[0] == 200
            assert (process.poll(), await room.is_done()) == (None, False)
            await room.store.commit(said(GO))
            assert await room.ended(process) == 0, room.log()
        assert await room.is_done()

    in_room(tmp_path, story)


def test_what_cannot_be_finished_in_time_is_handed_back(tmp_path: Path) -> None:
    async def story(room: Room) -> None:
        with room.process("1s") as process:
            await room.store.publish(EVENT)
            await room.heard(BEGUN)
            process.send_signal(signal.SIGTERM)
            assert await room.ended(process) == 0, room.log()
        assert not await room.is_done()

        await room.store.commit(said(GO))
        with room.process("1s") as process:
            await room.heard(DONE)
            process.send_signal(signal.SIGTERM)
            assert await room.ended(process) == 0, room.log()

    in_room(tmp_path, story)


def test_the_loopback_port_says_alive_ready_and_what_is_missing(tmp_path: Path) -> None:
    async def story(room: Room) -> None:
        with room.process("1s"):
            await room.answers("/readyz", 200)
            assert room.ask("/healthz")[0] == 200
            assert 'enclii_ready{check="nats"} 1' in room.ask("/metrics")[1]
            assert room.ask("/anything")[0] == 404

            room.server.kill()
            await room.answers("/readyz", 503)
            assert set(json.loads(room.ask("/readyz")[1])["failing"]) == {"nats"}
            assert room.ask("/healthz")[0] == 200
            assert 'enclii_ready{check="nats"} 0' in room.ask("/metrics")[1]

    in_room(tmp_path, story)
