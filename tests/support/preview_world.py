"""One project with previews on a real store, and all that forges and people may say of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from msgspec.structs import replace

from pipeline.bus import connect
from pipeline.errors import NotFound, Permanent, Unavailable
from pipeline.events import Event, PreviewRequested, PullRequestChanged
from pipeline.names import run_id
from pipeline.origin import Origin
from pipeline.preview_life import Limits
from pipeline.previews import Preview, PreviewRules, PreviewService, key_of
from pipeline.records import Decision, Job, Project, Repository, Run
from pipeline.stages.preview import Previews
from pipeline.stages.preview_plan import Plan
from pipeline.stages.preview_watch import Shed, Watcher
from pipeline.store import Change, Step, Store, now
from pipeline.worker import settle

ONE, TWO = "1" * 40, "2" * 40


class Sources:
    """A repository with one service and one branch, whose head is as it is told."""

    head_is = ONE
    away = False
    gone = False
    bases: list[str]

    def __init__(self) -> None:
        self.bases = []

    async def head(self, repository: Repository, branch: str) -> str:
        return self.head_is

    async def plan(self, preview: Preview, repository: Repository, *, base: str, asked: Event) -> Plan:
        if self.away:
            raise Unavailable("its forge does not answer", reason="source_away")
        if self.gone:
            raise NotFound("the remote has no such commit", reason="ref_not_found")
        self.bases.append(base)
        run = Run(
            id=run_id(f"{preview.id}/{preview.sha}/{asked.id}"), project=preview.project, services=("web",),
            repository=repository.id, ref="refs/heads/x", sha=preview.sha, actor=preview.by, subject_line="",
            delivery=asked.id, created_at=now(), preview=preview.ref,
        )  # fmt: skip
        job = Job(run=run.id, project=preview.project, service="web", created_at=now())
        return Plan(run, (PreviewService(name="web", host="h"),), (Change(run, 0), Change(job, 0)), ())


@dataclass
class World:
    """One project of its own on the shared store."""

    store: Store
    slug: str
    stage: Previews
    sources: Sources
    count: int = 0

    @property
    def repository(self) -> str:
        """As it was linked."""
        return f"github:acme/{self.slug}"

    @property
    def origin(self) -> str:
        """As its forge numbers it."""
        return numbered(self.slug)

    async def say(self, event: Event) -> None:
        """As the worker does it."""
        try:
            await settle(self.stage.handle, event, self.store)
        except Permanent as error:
            await self.store.commit(await self.stage.failed(event, error))

    async def ask(self, verb: str, **more: object) -> Decision:
        self.count += 1
        fields = {"number": 12, "actor": "ada", **more}
        event = PreviewRequested(
            id=f"{self.slug}/c{self.count}", verb=verb, project=self.slug, repository=self.repository, **fields  # type: ignore[arg-type]
        )  # fmt: skip
        await self.say(event)
        found = await self.store.get(Decision, event.id)
        assert found is not None
        return found.record

    async def pull(self, *, action: str = "opened", head: str = ONE, **more: object) -> None:
        self.count += 1
        fields: dict[str, object] = {
            "state": "open", "number": 12, "head_repository": self.origin, "fork": False, "base": "main",
            "updated_at": f"2026-01-01T00:00:{self.count:02}Z", **more,
        }  # fmt: skip
        await self.say(
            PullRequestChanged(
                id=f"{self.slug}/p{self.count}", forge="github", repository=self.origin, action=action, head=head,  # type: ignore[arg-type]
                head_ref="feature", author="eve", **fields,  # type: ignore[arg-type]
            )
        )  # fmt: skip

    async def preview(self, number: int = 12) -> Preview | None:
        found = await self.store.get(Preview, *key_of(self.origin, number, ""))
        return found.record if found else None

    async def there(self, number: int = 12) -> Preview:
        found = await self.preview(number)
        assert found is not None
        return found

    async def removing(self, number: int = 12) -> Preview:
        """A preview that nothing runs of, asked to end."""
        await self.ask("up", number=number)
        await self.end_job(await self.there(number))
        await self.ask("down", number=number)
        return await self.there(number)

    async def end_job(self, one: Preview) -> None:
        """Its build has ended."""
        job = await self.store.get(Job, one.run, "web")
        assert job is not None
        await self.store.commit(Step((Change(replace(job.record, status="cancelled"), job.seq),)))

    def watcher(self, shed: Shed | None = None) -> Watcher:
        return Watcher(self.stage, shed or nothing_left, 900.0)


def numbered(slug: str) -> str:
    """A number for each project."""
    return f"github:{int.from_bytes(slug.encode()[-6:])}"


async def nothing_left(_: Preview) -> int:
    return 0


@contextlib.asynccontextmanager
async def world(
    url: str, slug: str, *, limits: Limits | None = None, automatic: bool = False, sources: Sources | None = None
) -> AsyncIterator[World]:
    bus = await connect(url, name="test", wait=60.0)
    try:
        await bus.create_streams()
        store, sources = Store(bus), sources or Sources()
        known = Repository(
            id=f"github:acme/{slug}", project=slug, name=slug, forge="github", url="https://example.test/x"
        )
        origin = Origin(id=numbered(slug), repository=known.id, name=f"acme/{slug}")
        rules = PreviewRules(automatic=automatic)
        project = Project(slug=slug, repositories=(known.id,), previews=rules)
        await store.commit(Step((Change(known), Change(project), Change(origin))))
        stage = Previews(store, sources, limits or Limits(cap_all=1_000))
        async with asyncio.timeout(60):
            yield World(store, slug, stage, sources)
    finally:
        await bus.close()
