"""The console for one test: a real nats-server, the projection that follows it, and the API in a real uvicorn."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from console.api import create_api
from console.audit import Audit
from console.audit_routes import AuditRoutes
from console.authority import Authority
from console.bearer import Known
from console.client import Client, Failure
from console.device import Devices
from console.forges import Forges
from console.origins import Origins
from console.projection import Projection
from console.service_feed import Feeds
from console.token_routes import TokenRoutes
from console.tokens import Tokens
from console.web.app import Front, create_web
from console.web.login import Login
from console.web.provider_login import ProviderLogin
from console.web.sessions import Sessions
from gitops.clusters import LogLine, ServiceRef
from pipeline.bus import connect
from pipeline.errors import Unavailable
from pipeline.records import Record
from pipeline.stalling import Cutting
from pipeline.store import Change, Step, Store
from tests.support.nats import running_nats

TOKEN = "the-token-of-a-test"
PAGES = "http://console.example.test"
LIMIT = 180.0
Faces = Callable[[Projection, Store], dict[str, Any]]
"""What the pages are given beside the stores: ``doctor``, ``packages`` and the like."""
FORGES = Forges("http://git.example.test", "https://hooks.example.test", ("root",))


@dataclass
class Lines:
    """Lines as a cluster would give them, oldest first."""

    lines: list[LogLine] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    breaks_after: int = 0
    """The first answer breaks off after so many lines; 0: it does not."""
    failing: bool = False
    """Whether what comes next, for who follows, is that the cluster is away."""
    more: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when lines were added, for those who follow."""
    lasting: bool = False
    """Whether who follows waits for more at the end of the lines."""

    def add(self, *lines: LogLine) -> None:
        self.lines += lines
        self.more.set()
        self.more = asyncio.Event()

    async def logs(
        self, ref: ServiceRef, *, follow: bool, tail: int | None, since: datetime.datetime | None
    ) -> AsyncIterator[LogLine]:
        self.asked.append({"of": ref, "tail": tail, "since": since, "follow": follow})
        number = 0
        while number < len(self.lines) or (follow and self.lasting):
            if number == len(self.lines):
                if self.failing:
                    raise Unavailable("the cluster is away", reason="cluster_away")
                await self.more.wait()
                continue
            yield self.lines[number]
            number += 1
            if number == self.breaks_after and len(self.asked) == 1:
                raise ConnectionError("the reader went away")


@dataclass
class Console:
    """What a test works with; ``ask`` runs a blocking call of the client beside the server's loop."""

    store: Store
    projection: Projection
    client: Client
    url: str
    logs: Lines
    stopping: asyncio.Event

    async def put(self, *records: Record) -> None:
        """Write records and wait until they can be read."""
        await self.store.commit(Step(tuple(Change(record, None) for record in records)))
        entry = await self.store.bus.get(records[-1].subject)
        assert entry is not None
        await self.reached(entry.seq)

    async def reached(self, seq: int) -> None:
        """Wait until the projection has applied ``seq``."""
        while True:
            moved = self.projection.moved
            if self.projection.position() >= seq:
                return
            await moved.wait()

    async def get(self, address: str, **query: str | int | bool) -> Any:
        return await asyncio.to_thread(self.client.get, address, query)

    async def post(self, address: str, body: dict[str, Any], key: str = "") -> Any:
        return await asyncio.to_thread(lambda: self.client.post(address, body, key=key))

    async def failure_of(self, address: str, body: dict[str, Any]) -> Failure:
        """The failure that sending ``body`` ends in."""
        try:
            found = await self.post(address, body)
        except Failure as failure:
            return failure
        raise AssertionError(f"{address} answered {found}")

    async def failure(self, address: str, **query: str | int | bool) -> Failure:
        """The failure that asking ends in."""
        try:
            found = await self.get(address, **query)
        except Failure as failure:
            return failure
        raise AssertionError(f"{address} answered {found}")


def with_console(
    tmp: Path,
    story: Callable[[Console], Awaitable[None]],
    *,
    providing: Callable[[Sessions], ProviderLogin] | None = None,
    others: Sequence[Known] = (),
    faces: Faces | None = None,
) -> None:
    """Run ``story`` beside a console of its own, with an identity provider or without."""

    async def go(url: str) -> None:
        async with asyncio.timeout(LIMIT), _console(url, tmp, providing, others, faces) as console:
            await story(console)

    with running_nats(tmp) as url:
        asyncio.run(go(url))


@asynccontextmanager
async def _console(
    nats_url: str,
    tmp: Path,
    providing: Callable[[Sessions], ProviderLogin] | None,
    others: Sequence[Known],
    faces: Faces | None,
) -> AsyncIterator[Console]:
    bus = await connect(nats_url, name="test", wait=60.0)
    await bus.create_streams()
    projection, store, logs = Projection(tmp / "console.sqlite"), Store(bus, "test"), Lines()
    stopping = asyncio.Event()
    following = asyncio.create_task(projection.follow(bus))
    sessions = Sessions(bus, lifetime=3600.0)
    audit = Audit(bus, tmp / "audit.sqlite", keep=3600.0)
    provider = providing(sessions) if providing else None
    login = Login(sessions, console_url=PAGES, provider=provider, audit=audit)
    origins = Origins(store, own=TOKEN, people=tmp / "people")
    tokens = Tokens(store, projection, origins)
    devices = Devices(bus, tokens, console_url=PAGES, lifetime=3600.0)
    auditing = asyncio.create_task(audit.follow())
    token_routes = TokenRoutes(tokens, Authority(projection), projection)
    more = [
        *login.api_routes(), *devices.routes(), *token_routes.routes(),
        *AuditRoutes(audit).routes(),
    ]  # fmt: skip
    feeds = Feeds(logs)
    api = create_api(
        projection=projection, store=store, logs=feeds, token=TOKEN, forges=FORGES, stopping=stopping,
        people=tmp / "people", more=more, others=[tokens.principal, *others], audit=audit,
        recheck=1.0,
    )  # fmt: skip
    web = create_web(
        projection=projection, store=store, logs=feeds, sessions=sessions, login=login, console_url=PAGES,
        origins=origins, devices=devices, tokens=token_routes, audit=audit, stopping=stopping, recheck=1.0,
        **(faces(projection, store) if faces else {}),
    )  # fmt: skip
    try:
        async with serving(Front(api=api, web=web)) as url:
            yield Console(store, projection, Client(url, TOKEN), url, logs, stopping)
    finally:
        for task in (following, auditing):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        projection.close()
        audit.close()
        await bus.close()


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The address of ``app`` in a uvicorn on a port that the system chose."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=Cutting, lifespan="off", log_level="warning", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.005)
            if task.done():
                task.result()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
