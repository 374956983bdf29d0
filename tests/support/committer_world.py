"""One committer on a real event store and a real config repository, for the tests that drive it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec.structs import replace

from gitops.committing.committer import Committer, Result
from gitops.committing.ports import Ports
from gitops.committing.recording import record
from gitops.gate.policyfile import Policy
from gitops.git.configrepo import ConfigRepo
from gitops.layout import Place
from pipeline.bus import Bus, connect
from pipeline.events import (
    ConfigMoved,
    Event,
    LinkRequested,
    ReleaseReady,
    RollbackRequested,
)
from pipeline.names import token
from pipeline.records import Decision, Deployment, Release, ServiceRecord, Target, Verdict
from pipeline.servicefile import ServiceSpec
from pipeline.store import Change, Step, Store, now
from tests.support.config_git import Person, bare, git, served
from tests.support.nats import running_nats

REDELIVERIES = 10
PASSING = frozenset({"config_repository_away", "config_moved", "config_push_unanswered"})
"""Troubles of the way to the repository, which a busy machine makes."""

WEB = Place("shop", "production", "web")


def sha_of(number: int) -> str:
    return f"{number:040x}"


def image_of(number: int, service: str = "web") -> str:
    return f"registry.example:5000/shop/{service}@sha256:{number:064x}"


@dataclass
class World:
    """One store, one config repository, one committer, and sources whose commits form one line."""

    tmp: Path
    remote: Path
    url: str
    store: Store
    committer: Committer = field(init=False)
    refuse: dict[str, Exception] = field(default_factory=dict)
    diverged: set[tuple[str, str]] = field(default_factory=set)
    resuming: dict[str, frozenset[str]] = field(default_factory=dict)
    asked: int = 0
    instance: str = ""

    def __post_init__(self) -> None:
        self.committer = self.new_committer()

    def new_committer(self, mirror: str = "mirror") -> Committer:
        return self.committer_of(self.url, mirror)

    def committer_of(self, url: str, mirror: str = "mirror") -> Committer:
        instance = f"test {self.instance}" if self.instance else ""
        repo = ConfigRepo(self.tmp / mirror, url, instance=instance)
        ports = Ports(gate=self.gate, permit=self.permit, is_descendant=self.is_descendant, resumes=self.resumes)
        known = frozenset({self.instance} - {""})
        return Committer(repo, self.store, ports=ports, instances=known)

    async def gate(self, release: Release) -> Verdict:
        self.asked += 1
        if release.id in self.refuse:
            raise self.refuse[release.id]
        digest = "sha256:" + token(release.id)
        return Verdict(
            image=release.image, source_url=release.source_url, shas=(release.sha,), provenance=digest, verified_at=""
        )

    async def permit(self, release: Release, policy: Policy, branch: str) -> str:
        return "sha256:" + token(policy.digest)

    async def is_descendant(self, repository: str, new: str, old: str) -> bool | None:
        if (new, old) in self.diverged or (old, new) in self.diverged:
            return False
        return int(new, 16) >= int(old, 16)

    async def resumes(self, release: Release) -> frozenset[str]:
        return self.resuming.get(release.id, frozenset())

    async def release(self, number: int, service: str = "web", **spec: object) -> ReleaseReady:
        """Store a release and return the event that says it is ready."""
        stated = ServiceSpec(name=service, **{"port": 8080, "health": "/healthz", **spec})  # type: ignore[arg-type]
        release = Release(
            id=f"shop.{service}.v{number}",
            project="shop",
            service=service,
            number=number,
            image=image_of(number, service),
            sha=sha_of(number),
            ref="refs/heads/main",
            repository="local:shop/shop",
            source_url="http://git.example/shop/shop.git",
            actor="deployer",
            subject_line="a change",
            run=f"r-{number}",
            spec=msgspec.Raw(msgspec.json.encode(stated)),
        )
        counter = ServiceRecord(project="shop", service=service, last_release=number)
        await self.store.commit(Step((Change(release, None), Change(counter, None))))
        return ReleaseReady(
            id=f"r-{number}/{service}", release=release.id, run=release.run, project="shop", service=service
        )

    async def link(self, **given: object) -> LinkRequested:
        event = LinkRequested(
            id="link-1",
            project="shop",
            repository="local:shop/shop",
            name="shop",
            forge="local",
            url="http://git.example/shop/shop.git",
            actor="deployer",
            **given,  # type: ignore[arg-type]
        )
        wrong = [one.error for one in await self.do(event) if one.error]
        assert not wrong, f"nothing can be told of a project that could not be linked: {wrong}"
        return event

    async def do(self, *events: Event) -> list[Result]:
        """Handle a group and record its results; what the way to the repository stood against comes again, as it does
        in the process."""
        results = await self._handled(events)
        for _ in range(REDELIVERIES):
            again = [one.event for one in results if one.event and one.error and one.error.reason in PASSING]
            if not again:
                break
            results = [one for one in results if one.event not in again] + await self._handled(again)
        return results

    async def _handled(self, events: Sequence[Event]) -> list[Result]:
        results: list[Result] = []
        left = list(events)
        while left:
            done = await self.committer.handle(left)
            await self.record(done)
            results += done
            left = left[sum(one.event is not None for one in done) :]
        return results

    async def record(self, results: list[Result]) -> None:
        _, stopped = await record(self.store, [result.step for result in results])
        if stopped is not None:
            raise stopped

    async def deployed(self, number: int) -> Deployment:
        """Release and deploy a version, and let it have been seen running."""
        await self.do(await self.release(number))
        return await self.seen_running()

    async def seen_running(self) -> Deployment:
        stored = await self.store.get(Deployment, (await self.target()).deployment)
        assert stored is not None
        running = replace(stored.record, status="running", running_at=now())
        await self.store.commit(Step((Change(running, stored.seq),)))
        return running

    async def target(self, place: Place = WEB) -> Target:
        stored = await self.store.get(Target, *place)
        assert stored is not None
        return stored.record

    async def decision(self, identity: str) -> Decision:
        stored = await self.store.get(Decision, identity)
        assert stored is not None, identity
        return stored.record

    async def status(self, deployment: str) -> str:
        stored = await self.store.get(Deployment, deployment)
        assert stored is not None
        return stored.record.status

    async def moved(self) -> list[Result]:
        """Somebody pushed: the committer is told."""
        return await self.do(ConfigMoved(id="hint", commit=""))

    def person(self) -> Person:
        home = self.tmp / f"person-{len(list(self.tmp.iterdir()))}"
        home.mkdir()
        person = Person(self.remote, home)
        person.pull()
        return person

    def log(self, pattern: str = "%s") -> list[str]:
        """The branch's history, newest first."""
        return git("log", f"--format={pattern}", "main", cwd=self.remote).splitlines()

    def file(self, path: str, at: str = "main") -> str:
        return git("show", f"{at}:{path}", cwd=self.remote)

    def files(self) -> list[str]:
        return git("ls-tree", "-r", "--name-only", "main", cwd=self.remote).splitlines()


Story = Callable[[World], Awaitable[None]]


def told(tmp: Path, story: Story, *, limit: float = 60) -> None:
    """Run one story in a world of its own, with the project linked."""

    async def go(url: str, served_at: str) -> None:
        bus: Bus = await connect(url, name="test", wait=60.0)
        try:
            await bus.create_streams()
            async with asyncio.timeout(limit):
                world = World(tmp, bare(tmp), f"{served_at}/config.git", Store(bus))
                await world.link()
                await story(world)
        finally:
            await bus.close()

    with running_nats(tmp / "nats") as url, served(tmp) as served_at:
        asyncio.run(go(url, served_at))


def rollback(identity: str = "c-1", **given: object) -> RollbackRequested:
    fields = {"project": "shop", "environment": "production", "service": "web", "actor": "operator", **given}
    return RollbackRequested(id=identity, **fields)  # type: ignore[arg-type]
