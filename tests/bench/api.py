"""``api.*``, ``page.*``, ``sse.fanout``: the console, a process of its own, at 10,000 services in three environments.

The records lie in a real event store, as the other processes would have written them; requests come over HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from pipeline.bus import connect
from pipeline.names import token
from pipeline.records import Environment, Job, Live, Project, Record, Release, Run, ServiceRecord, Target
from pipeline.store import Change, Step, Store
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.memory import proportional
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN
from tests.support.line import ROOT
from tests.support.nats import running_nats

SERVICES = 10_000
ENVIRONMENTS = ("production", "staging", "test")
BATCH = 900
LIST_PAGE = Bound("api.list_page", "ms", 50)
LIST_ALL = Bound("api.list_all", "ms", 400)
MEMORY = Bound("api.memory", "MB", 200)
READY = Bound("api.ready", "s", 15)
READY_AGAIN = Bound("api.ready_from_file", "s", 2)
FIRST_BYTE = Bound("page.first_byte", "ms", 50)
BYTES = Bound("page.bytes", "kB", 100)
FANOUT = Bound("sse.fanout", "ms", 500)
FANOUTS = ((1_000, 20), (50, 1_000))
SECONDS = 8
FRESH, AGAIN = 3, 5
ASKED = 60
"""Times that each page is asked for; the first of them all finds no template read yet."""

SERVER = """
import asyncio, json, sys
from pathlib import Path
import uvicorn
from console.api import create_api
from console.origins import Origins
from console.projection import Projection
from console.service_feed import Feeds
from console.web.app import Front, create_web
from console.web.login import Login
from console.web.sessions import Sessions
import uvloop

from pipeline.bus import connect
from pipeline.store import Store
from tests.integration.console_server import FORGES, PAGES, TOKEN, Lines

async def main(nats, file, port):
    bus = await connect(nats, name="bench")
    db, store, logs = Projection(Path(file)), Store(bus, "bench"), Feeds(Lines())
    sessions = Sessions(bus, lifetime=3600.0)
    login = Login(sessions, console_url=PAGES)
    api = create_api(projection=db, store=store, logs=logs, token=TOKEN, forges=FORGES, more=login.api_routes())
    web = create_web(
        projection=db, store=store, logs=logs, sessions=sessions, login=login, console_url=PAGES,
        origins=Origins(store, own=TOKEN))
    following = asyncio.create_task(db.follow(bus))
    config = uvicorn.Config(Front(api=api, web=web), port=int(port), lifespan="off", log_level="error", backlog=4096)
    await uvicorn.Server(config).serve()
    following.cancel()

import uvloop
uvloop.run(main(*sys.argv[1:]))
"""


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """Fill a store, start the console again and again, then ask."""
    with running_nats(folder / "nats") as nats:
        asyncio.run(_filled(nats))
        first = [_started(nats, folder / f"projection-{number}.sqlite") for number in range(FRESH)]
        filled = folder / "projection-0.sqlite"
        again = [_started(nats, filled) for _ in range(AGAIN)]
        with _console(nats, filled) as (port, process):
            _until(port, process)
            figures = [median_of(READY, first), median_of(READY_AGAIN, again)]
            figures += _asked(port)
            figures += _pages(port)
            if FANOUT.figure in wanted:
                figures.append(_fanout(nats, port))
            figures.append(Figure(MEMORY, proportional(process.pid), 1))
    return figures


def _started(nats: str, file: Path) -> float:
    """Seconds until a console with this file shows everything."""
    with _console(nats, file) as (port, process):
        return _until(port, process)


def _records() -> Iterator[Record]:
    yield Project(slug="shop", environments=tuple(Environment(name=one, branch="main") for one in ENVIRONMENTS))
    yield data.run(3, "running")
    for number, _ in enumerate(FANOUTS):
        fields = {"run": "r-3", "project": "shop", "service": f"fan-{number}", "status": "building"}
        yield Job(**fields, created_at=data.AT2)  # type: ignore[arg-type]
    base: Release = data.release(1, data.IMAGE1, data.SHA1, data.AT1)
    target, live = data.target(1, data.IMAGE1, data.SHA1), data.live(1, data.IMAGE1, data.AT1)
    from msgspec.structs import replace

    for number in range(SERVICES):
        name = f"s{number:05d}"
        yield ServiceRecord(project="shop", service=name, last_release=1)
        yield replace(base, id=f"shop.{name}.v1", service=name)
        for place in ENVIRONMENTS:
            key = {"service": name, "environment": place}
            deployment = f"d-{place}-{number}"
            wanted: Target = replace(target, **key, deployment=deployment, release=f"shop.{name}.v1")
            seen: Live = replace(live, **key, deployment=deployment, release=f"shop.{name}.v1")
            yield replace(data.deployment(1, data.IMAGE1, data.SHA1, data.AT1, "running"), id=deployment, **key)
            yield wanted
            yield seen


async def _filled(nats: str) -> None:
    """Write the records."""
    bus = await connect(nats, name="bench")
    await bus.create_streams()
    store, batch = Store(bus, "bench"), []
    for record in _records():
        batch.append(Change(record, None))
        if len(batch) == BATCH:
            await store.commit(Step(tuple(batch)))
            batch = []
    await store.commit(Step((*batch, Change(Run(**_last()), None))))
    await bus.close()


def _last() -> dict[str, Any]:
    return {"id": "r-last", "project": "shop", "repository": "local:shop/shop", "ref": "refs/heads/main",
            "sha": data.SHA1, "actor": "ada", "subject_line": "-", "delivery": "-", "created_at": data.AT1}  # fmt: skip


@contextlib.contextmanager
def _console(nats: str, file: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = (sys.executable, "-c", SERVER, nats, str(file), str(port))
    process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield port, process
    finally:
        process.terminate()
        process.wait(30)


def _get(port: int, address: str, **headers: str) -> tuple[float, float, bytes]:
    """Seconds to the first byte, to the last, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = {"Authorization": f"Bearer {TOKEN}", **headers}
    begun = time.perf_counter()
    connection.request("GET", address, headers=sent)
    answer = connection.getresponse()
    first = time.perf_counter() - begun
    body = answer.read()
    whole = time.perf_counter() - begun
    connection.close()
    assert answer.status == 200, (address, answer.status, body[:200])
    return first, whole, body


def _until(port: int, process: subprocess.Popen[bytes]) -> float:
    """Seconds from the start until everything that was stored is in the answers."""
    begun = time.monotonic()
    while time.monotonic() - begun < 120:
        if process.poll() is not None:
            raise RuntimeError("the console has ended")
        with contextlib.suppress(OSError, AssertionError):
            _get(port, "/v1/runs/r-last")  # was written last
            return time.monotonic() - begun
        time.sleep(0.05)  # it is asked as a client would; nothing outside it says how far it is
    raise AssertionError("the projection did not fill")


def _asked(port: int) -> list[Figure]:
    address = "/v1/projects/shop/services?include_status=true&environment="
    pages, following = [], ""
    for number in range(150):
        where = ENVIRONMENTS[number % 3]
        _, took, body = _get(port, f"{address}{where}&limit=100&cursor={following}")
        pages.append(took * 1e3)
        following = json.loads(body)["next"]
    whole = []
    for where in ENVIRONMENTS * 2:
        _, took, body = _get(port, address + where)
        assert len(json.loads(body)["services"]) == SERVICES
        whole.append(took * 1e3)
    return [
        Figure(LIST_PAGE, _p95(pages), len(pages), {"median": statistics.median(pages)}),
        median_of(LIST_ALL, whole),
    ]


def _pages(port: int) -> list[Figure]:
    """Every page, behind a login as a browser does it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/logins", b"{}", headers)
    address = json.loads(connection.getresponse().read())["address"]
    connection.request("GET", "/login?" + address.partition("?")[2])
    answer = connection.getresponse()
    answer.read()
    cookie = re.match(r"[^;]+", answer.getheader("set-cookie", "")) or [""]
    connection.close()
    place = "/services/shop/production/s00000"
    ends = ("", "/releases", "/rollback", "/logs", "/secrets")
    addresses = ["/", "/runs", "/decisions", "/promotions", "/queue", "/settings", *(place + end for end in ends)]
    found: dict[str, tuple[float, float]] = {}
    for one in addresses:
        with contextlib.suppress(AssertionError):
            took = [_get(port, one, Cookie=cookie[0]) for _ in range(ASKED)]
            found[one] = _p95([first * 1e3 for first, _, _ in took]), len(took[0][2]) / 1e3
    slowest, largest = max(found, key=lambda one: found[one][0]), max(found, key=lambda one: found[one][1])
    return [
        Figure(
            FIRST_BYTE,
            found[slowest][0],
            ASKED,
            {"page": slowest, "each": {k: round(v[0], 1) for k, v in found.items()}},
        ),
        Figure(BYTES, found[largest][1], 1, {"page": largest}),
    ]


def _p95(values: list[float]) -> float:
    """By nearest rank."""
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def _fanout(nats: str, port: int) -> Figure:
    """Both crowds, one after the other; what counts is the slower one."""
    runs = [uvloop.run(_crowd(nats, port, f"fan-{number}", *crowd)) for number, crowd in enumerate(FANOUTS)]
    detail = {f"{clients}x{rate}": round(delay, 1) for (clients, rate), delay in zip(FANOUTS, runs, strict=True)}
    return Figure(FANOUT, max(runs), len(runs), detail)


async def _crowd(nats: str, port: int, service: str, clients: int, rate: int) -> float:
    """The p95 of the delay in ms from writing a line to each client's having it. Raises when one loses a line."""
    bus = await connect(nats, name="writer")
    total = rate * SECONDS
    subject = f"log.build.{token('r-3', service)}"
    await bus.append(subject, _line(-1))
    loop = asyncio.get_running_loop()
    readers = [(await loop.create_connection(lambda: _Reader(service), "127.0.0.1", port))[1] for _ in range(clients)]
    await asyncio.gather(*(reader.began for reader in readers))  # what is measured is a crowd that is there
    begun = time.monotonic()
    for number in range(total):
        # The rate is what is measured under: a line at its own moment, however long the one before took.
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        await bus.append(subject, _line(number))
    await bus.append(subject, b'{"end": true}')
    await asyncio.wait_for(asyncio.gather(*(reader.ended for reader in readers)), 60)
    await bus.close()
    told = [reader.delays() for reader in readers]
    assert {len(one) for one in told} == {total}, f"lines lost: {sorted({len(one) for one in told})} of {total}"
    return _p95([delay for one in told for delay in one]) * 1e3


class _Reader(asyncio.Protocol):
    """A client that notes when something came, and reads it afterwards: the crowd must not measure itself."""

    def __init__(self, service: str) -> None:
        loop = asyncio.get_running_loop()
        self.began, self.ended = loop.create_future(), loop.create_future()
        self._service = service
        self._came: list[tuple[float, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = f"/v1/runs/r-3/logs?follow=true&service={self._service}"
        head = f"GET {address} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        transport.write(head.encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._came.append((time.time(), data))
        if not self.began.done() and b"-1|" in data:
            self.began.set_result(None)
        if not self.ended.done() and b"event: end" in data:
            self.ended.set_result(None)

    def delays(self) -> list[float]:
        """Seconds, for each line."""
        found, rest = [], b""
        for at, came in self._came:
            *lines, rest = (rest + came).split(b"\n")
            for line in lines:
                number, _, sent = line.partition(b'"text": "')[2].partition(b'"')[0].partition(b"|")
                if sent and number != b"-1":
                    found.append(at - float(sent))
        return found


def _line(number: int) -> bytes:
    moment = datetime.datetime.now(datetime.UTC).isoformat()
    return json.dumps({"t": moment, "s": "stdout", "l": f"{number}|{time.time()}"}).encode()


FAMILY = Family((READY, READY_AGAIN, LIST_PAGE, LIST_ALL, FIRST_BYTE, BYTES, FANOUT, MEMORY), measure)
