"""One git host on a real event store, with a work tree beside it, for the tests that push to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ingest.access import Tokens
from ingest.githost import GitHost, create_githost
from ingest.githost_hooks import Check
from ingest.gitrepos import RepositoryName
from pipeline.bus import connect
from pipeline.events import Delivery
from pipeline.process import Completed, run
from pipeline.servicefile import parse_servicefile
from pipeline.store import Store
from tests.support.components import needs
from tests.support.nats import running_nats
from tests.support.serving import serving

TOKENS = Tokens(deploy="deploy-token", read="read-token", config="config-token")
SHOP = RepositoryName.of("shop", "web")
CONFIG = RepositoryName.of("enclii", "config")
LIMIT = 90.0


@dataclass
class Room:
    """One git host on its event store, with a work tree beside it."""

    tmp: Path
    store: Store
    host: GitHost
    url: str
    work: Path = field(init=False)

    def __post_init__(self) -> None:
        self.work = self.tmp / "work"

    async def git(self, *argv: str, cwd: Path | None = None, check: bool = True) -> Completed:
        env = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        env |= {f"GIT_{who}_{what}": "deployer@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("EMAIL",)}
        env |= {"GIT_AUTHOR_NAME": "deployer", "GIT_COMMITTER_NAME": "deployer"}
        return await run(("git", *argv), timeout=LIMIT, cwd=cwd or self.work, env=env, check=check)

    async def commit(self, **files: str) -> str:
        if not self.work.exists():
            self.work.mkdir()
            await self.git("init", "-q", "-b", "main")
        for name, text in files.items():
            (self.work / name.replace("_", ".")).write_text(text)
        await self.git("add", "-A")
        await self.git("commit", "-q", "--allow-empty", "-m", "change")
        return (await self.git("rev-parse", "HEAD")).stdout.decode().strip()

    def remote(self, path: str = "shop/web.git", *, user: str = "x", token: str = TOKENS.deploy) -> str:
        return f"{self.url.replace('http://', f'http://{user}:{token}@')}/{path}"

    async def push(self, *refs: str, path: str = "shop/web.git", user: str = "x", token: str = TOKENS.deploy) -> str:
        """What the person reads; the exit code comes as the first word."""
        done = await self.git("push", self.remote(path, user=user, token=token), *(refs or ("main",)), check=False)
        return f"{done.returncode} {done.stderr.decode()}"

    async def deliveries(self) -> list[Delivery]:
        return [msgspec.json.decode(entry.data, type=Delivery) for entry in await self.store.bus.scan("hooks.>")]

    async def events(self, kind: type[msgspec.Struct]) -> list[msgspec.Struct]:
        return [msgspec.json.decode(e.data, type=kind) for e in await self.store.bus.scan(f"ev.{kind.type}.*")]  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def opened(
    tmp: Path, nats: str, *, max_push: int = 512 << 20, check: Check = parse_servicefile, store: type[Store] = Store
) -> AsyncIterator[Room]:
    bus = await connect(nats, name="test", wait=60.0)
    await bus.create_streams()
    host = create_githost(
        store=store(bus),
        state=tmp / "state",
        tokens=TOKENS,
        check=check,
        git_url="http://git.test",
        console_url="http://console.test",
        max_push=max_push,
    )
    try:
        async with host, serving(host) as url:
            yield Room(tmp, Store(bus), host, url)
    finally:
        await bus.close()


def in_room(tmp: Path, scenario: Callable[[Room], Awaitable[None]], *, max_push: int = 512 << 20) -> None:
    """Run one scenario in a room of its own."""
    needs("git")

    async def whole(nats: str) -> None:
        async with opened(tmp, nats, max_push=max_push) as room:
            await scenario(room)

    with running_nats(tmp / "nats") as url:
        asyncio.run(whole(url))


async def delivered(room: Room) -> list[Delivery]:
    """Everything delivered, once there is something."""
    async with asyncio.timeout(LIMIT), room.store.bus.watch("hooks.>") as messages:
        await anext(messages)
    return await room.deliveries()
