"""The forges' process without its main: real NATS, the tests' GitHub, and records as other processes write them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitops.forge.answering import Answers
from gitops.forge.commands import Commands
from gitops.forge.forges import Forges
from gitops.forge.github import GitHub as Client
from gitops.forge.pending import Pending
from gitops.forge.upkeep import Upkeep
from pipeline.bus import connect
from pipeline.events import CheckAsked, CommentPosted, Event, RepositoryMoved
from pipeline.main import in_background
from pipeline.origin import Origin
from pipeline.previews import PullRequest
from pipeline.record import Record
from pipeline.records import Decision, Environment, Project, Repository, ServiceRecord
from pipeline.store import Change, Step, Store, now
from pipeline.worker import Stage, work
from tests.support.github import NUMBER, TOKEN, GitHub, running_github
from tests.support.nats import running_nats

ORIGIN = f"github:{NUMBER}"
HEAD = "b" * 40
CONSOLE = "https://enclii.test"
SHOP = Repository(id="github:shop/shop", project="shop", name="shop", forge="github", url="https://HOST/shop/shop.git")
PROJECT = Project(
    slug="shop",
    repositories=(SHOP.id,),
    chatops={"approve": "maintain"},
    environments=(
        Environment(name="production", branch="main", protected=True),
        Environment(
            name="staging", branch="next", chatops={"rollback": "maintain", "hold": "write", "resume": "write"}
        ),
    ),
)


@dataclass
class Room:
    """One forges' process and what it sees."""

    store: Store
    github: GitHub
    folder: Path

    async def write(self, *records: Record) -> None:
        await self.store.commit(Step(tuple(Change(one, None) for one in records)))

    async def comment(self, body: str, author: str = "will", *, at: str = "", number: int = 2) -> CommentPosted:
        """Somebody comments, and the planner tells."""
        made = self.github.comment(number, body, author)
        event = CommentPosted(
            id=f"{ORIGIN}/comment/{made}", at=at or now(), forge="github", repository=ORIGIN, number=number,
            comment=str(made), author=author, body=body, created_at="2026-11-23T12:30:00Z",
        )  # fmt: skip
        await self.store.publish(event)
        return event

    async def decision(self, identity: str) -> Decision:
        found = await self.store.first(Decision, identity, such=lambda _: True, limit=60.0)
        assert found is not None, f"no decision of {identity}"
        return found

    async def said(self, event: CommentPosted) -> tuple[str, str]:
        """How a comment was decided."""
        found = await self.decision(event.id)
        return found.outcome, found.reason

    async def events(self, kind: type[Event]) -> list[Any]:
        found = await self.store.bus.scan(f"ev.{kind.type}.*")
        return [json.loads(entry.data) for entry in found]

    async def until(self, question: Callable[[], Any], *, limit: float = 60.0) -> Any:
        async with asyncio.timeout(limit):
            while not (found := question()):  # noqa: ASYNC110 - the other side's state
                await asyncio.sleep(0.02)
            return found

    @contextlib.asynccontextmanager
    async def process(self, *, pause: float = 0.0) -> AsyncIterator[None]:
        """The forges' process, from its start to its end."""
        stopping = asyncio.Event()
        forges = Forges(self.store, self.folder, {"github": Client})
        pending = Pending(self.store)
        await pending.load()
        answers = Answers(self.store, forges, console_url=CONSOLE, commands=pending, pause=pause)
        commands = Commands(self.store, forges, pending, console_url=CONSOLE)
        upkeep = Upkeep(self.store, forges, pending)
        stages = (
            Stage("forge-comments", (CommentPosted,), commands.handle, commands.failed),
            Stage("forge-others", (CheckAsked, RepositoryMoved), upkeep.handle, upkeep.failed),
        )
        working = (work(stage, self.store, stopping) for stage in stages)
        async with in_background(answers.work(), upkeep.decisions(), *answers.watching(), *working):
            yield


def in_room(tmp: Path, scenario: Callable[[Room], Awaitable[None]]) -> None:
    """Run a scenario in a room of its own."""

    async def whole(nats: str) -> None:
        bus = await connect(nats, name="test", wait=60.0)
        await bus.create_streams()
        async with running_github() as github:
            host = github.url.removeprefix("http://")
            folder = tmp / "forges"
            folder.mkdir()
            file = folder / f"{host}.json"
            file.write_text(json.dumps({"forge": "github", "api": github.url, "token": TOKEN}))
            file.chmod(0o600)
            room = Room(Store(bus), github, folder)
            github.pull(2, HEAD)
            here = Repository(
                id=SHOP.id, project="shop", name="shop", forge="github", url=f"http://{host}/shop/shop.git"
            )
            service = ServiceRecord(project="shop", service="web", last_release=1)
            known = PullRequest(
                repository=ORIGIN,
                number=2,
                state="open",
                head=HEAD,
                fork=False,
                updated_at="2026-11-23T12:00:00Z",
                head_at="2026-11-23T12:00:00Z",
            )
            origin = Origin(id=ORIGIN, repository=SHOP.id, name="shop/shop")
            await room.write(here, PROJECT, service, known, origin)
            await scenario(room)
        await bus.close()

    with running_nats(tmp / "nats") as url:
        asyncio.run(whole(url))
