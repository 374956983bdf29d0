"""What surrounds the planner in a walk over the states of one preview: builder, committer and observer, at any speed.

They do what the real ones do with records, in the order of the events; the planner's stage and watcher are the real
ones, on a real store. So a walk may stop anybody at any moment and ask what becomes of the preview.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec.structs import replace

from pipeline import jobs
from pipeline.errors import Invalid
from pipeline.events import Event, PreviewChanged, PreviewRequested, PullRequestChanged, decode
from pipeline.jobs import OPEN
from pipeline.preview_life import due
from pipeline.previews import GONE, Preview, PreviewService
from pipeline.records import Deployment, Job, Live, Record, Repository, Route, Run, Target
from pipeline.stages.preview_plan import Plan
from pipeline.stages.preview_watch import Watcher
from pipeline.store import Change, Step, now
from tests.support.preview_world import Sources, World

E = TypeVar("E", bound=Event)
MANY = 200
HEADS = tuple(str(one) * 40 for one in range(1, 8))
FORK = "github:another"


class Walked(Sources):
    """One service of its own and one copy, both with names; what runs keeps running while a head is built."""

    def __init__(self, slug: str) -> None:
        super().__init__()
        self.host = f"{slug}.test"
        self.wrong = False

    async def plan(self, preview: Preview, repository: Repository, *, base: str, asked: Event) -> Plan:
        if self.wrong:
            raise Invalid("line 3: unknown key", reason="bad_servicefile")
        plan = await super().plan(preview, repository, base=base, asked=asked)
        before = {one.name: one for one in preview.services}
        services = [before.get("web") or PreviewService(name="web", host=self.host)]
        if not preview.fork:
            services.append(before.get("auth") or PreviewService(name="auth", copied=True))
        return dataclasses.replace(plan, services=tuple(services))


@dataclass
class Walk:
    """One world with what is still to be done in it."""

    at: World
    fork: bool
    heads: int = 0
    open: bool = False
    builds: bool = True
    told: set[str] = field(default_factory=set)
    count: int = 0
    watcher: Watcher = field(init=False)

    def __post_init__(self) -> None:
        self.watcher = self.at.watcher()

    # -- what may happen, in any order

    async def push(self) -> None:
        self.heads = (self.heads + 1) % len(HEADS)
        await self._pull("pushed")

    async def close(self) -> None:
        self.open = False
        await self._pull("closed")

    async def reopen(self) -> None:
        self.open = True
        await self._pull("reopened")

    async def up(self) -> None:
        verb = "approve" if self.fork else "up"
        await self.at.ask(verb, sha=HEADS[self.heads])

    async def restart(self) -> None:
        await self.at.ask("restart")

    async def down(self) -> None:
        await self.at.ask("down")

    async def extend(self) -> None:
        await self.at.ask("extend", seconds=3_600.0)

    async def sleep(self) -> None:
        """Nobody asked for it for two hours, and the front door would hear who does."""
        host = f"{self.at.slug}.test"
        await self.at.store.commit(Step((Change(Route(host=host, upstreams=("10.0.0.1:80",), preview=True), None),)))
        await self._aged(7_200.0)

    async def expire(self) -> None:
        await self._aged(300_000.0)

    async def hit(self) -> None:
        """A request, to a front door whose word is heard by whoever knows the host."""
        one = await self.at.preview()
        if one is not None:
            self.watcher._know(one)
        await self.watcher.heard(f"{self.at.slug}.test".encode())

    async def builds_break(self) -> None:
        self.builds = not self.builds

    async def file_breaks(self) -> None:
        assert isinstance(self.at.sources, Walked)
        self.at.sources.wrong = not self.at.sources.wrong

    async def bad_push(self) -> None:
        """Another head, whose enclii.yaml cannot be read, and the planner's word on it."""
        assert isinstance(self.at.sources, Walked)
        self.at.sources.wrong = True
        await self.push()
        self.at.sources.wrong = False

    def mend(self) -> None:
        """Builds work, and the service file can be read."""
        assert isinstance(self.at.sources, Walked)
        self.at.sources.wrong, self.builds = False, True

    async def planner_dies(self) -> None:
        self.watcher = self.at.watcher()

    async def removed_by_hand(self) -> None:
        """Somebody deletes its directory in the config repository."""
        for target in await self._targets():
            await self._gone(target)

    async def base_moves(self) -> None:
        """The base environment has another release; nothing of it reaches a preview by itself."""
        base = Target(project=self.at.slug, environment="staging", service="auth", deployment=self._next("d"),
                      release=self._next("r"), image="i", sha=HEADS[0], config_commit=self._next("c"))  # fmt: skip
        await self.at.store.commit(Step((Change(base, None),)))

    # -- what the others do about it

    async def build(self) -> bool:
        """The builder, the signer and the committer with one job, to its end."""
        for job in [one for one in await self._jobs() if one.status in OPEN]:
            found = await self.at.store.get(Job, job.run, job.service)
            assert found is not None
            if (stop := await jobs.why_stop(self.at.store, job.run)) is not None:
                await self.at.store.commit(await jobs.ended_step(self.at.store, found, *stop))
            elif not self.builds:
                failed = await jobs.ended_step(self.at.store, found, "failed", "build_failed", "no such file")
                await self.at.store.commit(failed)
            else:
                await self._deploy(job)
            return True
        return False

    async def commit(self) -> bool:
        """The committer with the next word about previews, and the observer after it."""
        for event in await self._events(PreviewChanged):
            self.told.add(event.id)
            one = await self.at.preview()
            for target in [one for one in await self._targets() if one.deployment]:
                if event.fact == "removing":
                    await self._gone(target)
                elif event.fact in ("asleep", "woken") and one is not None:
                    await self._scaled(target, one, event.fact)
            return True
        return False

    async def plan(self) -> bool:
        """The planner with the next word that it or the front door said itself."""
        asked = [*await self._events(PreviewRequested), *await self._events(PullRequestChanged)]
        for event in asked[:1]:
            self.told.add(event.id)
            await self.at.say(event)
        return bool(asked)

    async def look(self) -> bool:
        """The watcher with one look; True when it changed something."""
        before = await self.at.preview()
        if before is not None:
            await self.watcher.look(before.key)
        return before != await self.at.preview()

    async def settle(self) -> None:
        """Everybody, until nobody has anything to do."""
        for _ in range(MANY):
            moved = [await step() for step in (self.plan, self.build, self.commit, self.look)]
            if not any(moved):
                return
        raise AssertionError(f"never quiet: {await self.at.preview()}")

    # -- records

    async def _pull(self, action: str) -> None:
        origin = FORK if self.fork else self.at.origin
        await self.at.pull(
            action=action, head=HEADS[self.heads], state="open" if self.open else "closed", fork=self.fork,
            head_repository=origin,
        )  # fmt: skip

    async def _aged(self, seconds: float) -> None:
        """As if nobody had done anything for so long, then the sweep of this one preview."""
        found = await self.at.store.get(Preview, *self._key())
        if found is None or found.record.state in GONE or not found.record.expires_at:
            return
        old = replace(found.record, active_at=due(now(), -seconds), expires_at=due(now(), 260_000.0 - seconds),
                      pinned_until="")  # fmt: skip
        await self.at.store.commit(Step((Change(old, found.seq),)))
        await self.watcher.sweep()

    def _key(self) -> tuple[str, ...]:
        return (self.at.origin, "pull", "12")

    def _next(self, what: str) -> str:
        self.count += 1
        return f"{what}-{self.at.slug}-{self.count}"

    async def _jobs(self) -> list[Job]:
        return [one for one in await self.at.store.all(Job) if one.project == self.at.slug]

    async def _targets(self) -> list[Target]:
        every = await self.at.store.all(Target)
        return [one for one in every if one.project == self.at.slug and one.environment.startswith("preview-")]

    async def _events(self, kind: type[E]) -> list[E]:
        found = [decode(kind.type, one.data) for one in await self.at.store.bus.scan(f"ev.{kind.type}.*")]
        mine = {self.at.slug, self.at.origin}
        return [one for one in found if isinstance(one, kind) and one.id not in self.told
                and mine & {getattr(one, "project", ""), getattr(one, "repository", "")}]  # fmt: skip

    async def _deploy(self, job: Job) -> None:
        """The release's own commit, with the copies that come with it."""
        one, run = await self.at.there(), await self.at.store.get(Run, job.run)
        assert run is not None
        release = f"{job.project}.{job.service}.{job.run}"
        records: list[Record] = [replace(job, status="deployed", release=release)]
        for service in one.services:
            if service.name == job.service or service.copied:
                own = release if service.name == job.service else "base"
                records += self._deployed(one.environment, service.name, own, run.record.sha, desired=1)
        await self.at.store.commit(Step(tuple(Change(record, None) for record in records)))

    async def _scaled(self, target: Target, one: Preview, fact: str) -> None:
        desired = 0 if fact == "asleep" else 1
        if (one.state == "asleep") != (fact == "asleep") or one.state in GONE or (target.scaled == 0) == (desired == 0):
            return
        records = self._deployed(target.environment, target.service, target.release, target.sha, desired=desired)
        await self.at.store.commit(Step(tuple(Change(record, None) for record in records)))

    def _deployed(self, environment: str, service: str, release: str, sha: str, *, desired: int) -> list[Record]:
        place: dict[str, Any] = {"project": self.at.slug, "environment": environment, "service": service}
        place["release"] = release
        deployment, commit = self._next("d"), self._next("c")
        return [
            Deployment(id=deployment, image="i", status="running", sha=sha, config_commit=commit, **place),
            Target(deployment=deployment, image="i", sha=sha, config_commit=commit,
                   scaled=None if desired else 0, **place),
            Live(deployment=deployment, image="i", status="running", health="healthy", ready=desired, desired=desired,
                 address="http://x.test", **place),
        ]  # fmt: skip

    async def _gone(self, target: Target) -> None:
        commit = self._next("c")
        place: dict[str, Any] = dict(zip(("project", "environment", "service"), target.key, strict=True))
        left = Target(deployment="", release="", image="", sha="", config_commit=commit, **place)
        live = Live(deployment="", release="", image="", status="removed", health="unknown", ready=0, desired=0,
                    removed=commit, **place)  # fmt: skip
        await self.at.store.commit(Step((Change(left, None), Change(live, None))))
