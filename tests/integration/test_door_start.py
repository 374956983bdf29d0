"""A front door that has just started: it does not say of a name that it has not read yet that nobody answers to it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from gitops.door.following import follow, whole
from gitops.door.hits import Hits
from gitops.door.proxy import Door
from gitops.door.routes import RouteTable
from pipeline.bus import Bus, Write, connect
from pipeline.ops import ops_server
from pipeline.process import orphan_proof
from pipeline.records import Route
from pipeline.rights import rights_of
from tests.integration.test_door import HOST, answer_always, in_loop, upstream
from tests.support.components import SEARCH_PATH
from tests.support.free_ports import free_port
from tests.support.nats import AUTHORIZED, monitor_of, password_of, running_nats

ROOT = Path(__file__).parents[2]
LIMIT = 90.0
MANY = 3_000
"""Routes whose first read takes longer than listening does."""


async def _nobody(_: str) -> None:
    return None


async def _ask(port: int, path: str = "/", host: str = HOST) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read(-1)
    writer.close()
    return answer


@contextlib.asynccontextmanager
async def _door(table: RouteTable, hold: float) -> AsyncIterator[tuple[Door, int]]:
    front = Door(table=table, hold=hold)
    port = await front.start()
    try:
        yield front, port
    finally:
        await front.close(grace=0.5)


def _stored(*hosts: str, address: str) -> list[Write]:
    return [
        Write(f"st.route.{number}", msgspec.json.encode(Route(host=host, upstreams=(address,))), 0)
        for number, host in enumerate(hosts)
    ]


def test_a_name_that_is_not_read_yet_is_refused_for_now_and_never_for_good() -> None:
    async def story() -> None:
        async with _door(RouteTable(whole=False), 0.0) as (front, port):
            answer = await _ask(port)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in answer
            assert front.counters == {}, "names that nobody knows are not counted: anybody may think of many"

    in_loop(story())


def test_a_request_is_held_until_its_name_is_read_or_all_are() -> None:
    async def story() -> None:
        async with upstream(answer_always) as address, _door(RouteTable(whole=False), 60.0) as (front, port):
            known, unknown = (asyncio.create_task(_ask(port, host=host)) for host in (HOST, "other.localhost"))
            while front.connections < 2:  # noqa: ASYNC110 - the connections are the door's
                await asyncio.sleep(0.01)
            front.table.set(HOST, [address], seq=1)
            assert (await known).endswith(b"ok")
            assert front.counters[HOST] == {"requests": 1, "failures": 0}
            assert not unknown.done()
            front.table.completed()
            assert (await unknown).startswith(b"HTTP/1.1 404 ")

    in_loop(story())


def test_the_door_is_ready_once_it_has_read_what_is_stored_and_follows_from_there(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        judge = await connect(url, name="test", wait=LIMIT)
        own = {"user": "door", "password": password_of("door"), "rights": rights_of("door")}
        bus = await connect(url, name="door", wait=LIMIT, **own)  # type: ignore[arg-type]
        table = RouteTable(whole=False)
        async with upstream(answer_always) as address, _door(table, LIMIT) as (_, port):
            await judge.commit(*_stored(HOST, address=address))
            async with ops_server(0, {"routes": whole(table)}) as ops:
                assert b"the routes are not read yet" in await _ask(ops, "/readyz")
                following = asyncio.create_task(follow(bus, table, Hits(_nobody)))
                assert (await _ask(port)).endswith(b"ok")
                assert (await _ask(port, host="other.localhost")).startswith(b"HTTP/1.1 404 ")
                assert (await _ask(ops, "/readyz")).startswith(b"HTTP/1.1 200 ")
                await _moves_on(judge, table, address)
                following.cancel()
        await asyncio.gather(bus.close(), judge.close())

    with running_nats(tmp_path / "nats", extra=AUTHORIZED) as url:
        asyncio.run(_made(url))
        in_loop(story(url))


async def _made(url: str) -> None:
    bus = await connect(url, name="setup", wait=LIMIT)
    await bus.create_streams()
    await bus.close()


async def _moves_on(judge: Bus, table: RouteTable, address: str) -> None:
    later = msgspec.json.encode(Route(host="later.localhost", upstreams=(address,)))
    await judge.commit(Write("st.route.later", later, 0))
    while not table.has("later.localhost"):  # noqa: ASYNC110 - guarded by the loop's own limit
        await asyncio.sleep(0.01)


def test_no_stored_name_is_unknown_while_the_process_starts(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        async with upstream(answer_always) as address:
            bus = await connect(url, name="test", wait=LIMIT)
            routes = _stored(*(f"{number}.localhost" for number in range(MANY - 1)), HOST, address=address)
            for first in range(0, MANY, 500):
                await bus.commit(*routes[first : first + 500])
            await bus.close()
            port = free_port()
            with _process(tmp_path, url, port) as started:
                assert (await _first_answer(port, started)).endswith(b"ok")

    with running_nats(tmp_path / "nats") as url:
        asyncio.run(_made(url))
        asyncio.run(asyncio.wait_for(story(url), LIMIT))


@contextlib.contextmanager
def _process(home: Path, nats: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    told = {"HOME": str(home), "NATS_URL": nats, "NATS_MONITOR_URL": monitor_of(nats), "PORT": str(port)}
    told |= {"REGISTRY": "127.0.0.1:1", "INSTANCE": "t", "OPS_PORT": str(free_port())}
    environment = {"PATH": SEARCH_PATH, **{f"ENCLII_{key}": value for key, value in told.items()}}
    argv = orphan_proof((sys.executable, "-m", "gitops", "door"))
    started = subprocess.Popen(argv, cwd=ROOT, env=environment)
    try:
        yield started
    finally:
        started.terminate()
        started.wait()


async def _first_answer(port: int, started: subprocess.Popen[bytes]) -> bytes:
    while started.poll() is None:
        with contextlib.suppress(ConnectionError):
            return await _ask(port)
        await asyncio.sleep(0.001)
    raise AssertionError("the door ended")
