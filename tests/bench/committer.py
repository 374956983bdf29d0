"""``committer.vs_git`` and ``committer.growth``: deployments a second, and what a hundred times the services cost.

Ours: groups of releases through the committer against a real store and a config repository that git's own daemon
serves: rendered, committed, pushed and recorded. The verdict of the gate is ready, because the peer verifies nothing.
The peer: a clone of the same repository, where git adds, commits and pushes one rendered deployment after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from gitops.committing.committer import Committer
from gitops.committing.ports import Ports
from gitops.committing.recording import record
from gitops.gate.policyfile import Policy
from gitops.git.configrepo import ConfigRepo
from gitops.layout import Place
from gitops.render import render
from pipeline.bus import connect
from pipeline.events import LinkRequested, ReleaseReady
from pipeline.names import token
from pipeline.records import ConfigTip, Release, Target, Verdict
from pipeline.servicefile import ServiceSpec
from pipeline.store import Change, Step, Store, now
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.support.config_git import Person, bare, served
from tests.support.nats import running_nats

SMALL, LARGE = 100, 10_000
PER_PROJECT = 100
GROUP = 200
SAME = 100
WARM = 20
RUNS = 5
BY_GIT = 20
BATCH = 200
VS_GIT = Bound("committer.vs_git", "ratio", 15, "higher")
GROWTH = Bound("committer.growth", "ratio", 2)


Files = Callable[[Release, Place], Mapping[str, bytes]]
"""A service's directory for one of its releases."""


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """The same groups at both sizes, in turn, and git's loop at the larger."""
    few, many, groups, theirs = asyncio.run(_measured(folder))
    ours = [GROUP / seconds for seconds in groups]
    peer = statistics.median(1 / seconds for seconds in theirs)
    rates = {"per_second": round(statistics.median(ours), 1), "git_per_second": round(peer, 2)}
    growth = {"ms_each_at_100": round(statistics.median(few) / SAME * 1e3, 2)}
    growth |= {"ms_each_at_10000": round(statistics.median(many) / SAME * 1e3, 2)}
    sizes = {"services": LARGE, "group": GROUP, "git_runs": len(theirs)}
    return [
        median_of(VS_GIT, [rate / peer for rate in ours], **rates, **sizes),
        median_of(GROWTH, [larger / less for less, larger in zip(few, many, strict=True)], group=SAME, **growth),
    ]


async def _measured(folder: Path) -> tuple[list[float], list[float], list[float], list[float]]:
    """Seconds: groups of one size among few and among many services, full groups, and git's deployments.

    What is compared is measured in turn, so that whatever else the machine does meets both.
    """
    async with _world(folder / "few", SMALL) as (small, _), _world(folder / "many", LARGE) as (large, person):
        few, many, groups, theirs = [], [], [], []
        for _run in range(RUNS):
            few.append(await small.group(SAME))
            many.append(await large.group(SAME))
        for _run in range(RUNS):
            groups.append(await large.group(GROUP))
            theirs += await asyncio.to_thread(by_git, large, person, BY_GIT // RUNS)
            await large.group(1)  # reads what git's loop wrote, which is no part of the next group
    return few, many, groups, theirs


@contextlib.asynccontextmanager
async def _world(folder: Path, size: int) -> AsyncIterator[tuple[World, Person]]:
    """A seeded world with stores of its own, warmed by one small group."""
    remote = bare(folder)
    with running_nats(folder / "nats") as nats, served(folder) as address:
        bus = await connect(nats, name="bench")
        try:
            await bus.create_streams()
            world = World(folder, f"{address}/config.git", Store(bus), size)
            person = Person(remote, folder)
            await world.seed(person)
            await world.group(WARM)
            yield world, person
        finally:
            await bus.close()


def by_git(world: World, person: Person, count: int) -> list[float]:
    """Seconds of each deployment with the git program: edit, add, commit, push."""
    person.pull()
    person.git("config", "gc.auto", "0")
    took = []
    for place in world.chosen(count):
        begun = time.monotonic()
        for name, data in world.files(world.next_release(place), place).items():
            person.write(f"{place.path}/{name}", data.decode())
        person.git("add", place.path)
        person.git("commit", "-q", "-m", f"Deploy {place}")
        person.git("push", "-q", "origin", "HEAD:main")
        took.append(time.monotonic() - begun)
    return took


class World:
    """A config repository with ``size`` services that run, and the committer that knows them."""

    def __init__(self, folder: Path, url: str, store: Store, size: int, *, files: Files = render) -> None:
        self.files = files
        self._folder, self._url, self._store = folder, url, store
        self._places = [place_of(number) for number in range(size)]
        self._number = 1
        self._random = random.Random(size)  # noqa: S311 - which services; the same ones in each run
        ports = Ports(gate=verdict, permit=permitted, is_descendant=descends, resumes=nothing)
        repo = ConfigRepo(folder / "committer", url)
        self._committer = Committer(repo, store, ports=ports)

    async def seed(self, person: Person) -> None:
        """Every project linked by the committer; every service written to git, and recorded as the committer would."""
        links = [link(project) for project in dict.fromkeys(place.project for place in self._places)]
        await record(self._store, [result.step for result in await self._committer.handle(links)])
        targets = await asyncio.to_thread(self._written, person)
        for first in range(0, len(targets), BATCH):
            await self._store.commit(Step(tuple(Change(one, None) for one in targets[first : first + BATCH])))
        await self._store.commit(Step((Change(ConfigTip(commit=targets[-1].config_commit, at=now()), None),)))

    def _written(self, person: Person) -> list[Target]:
        releases = [release_of(place, 1) for place in self._places]
        person.pull()
        for place, release in zip(self._places, releases, strict=True):
            for name, data in self.files(release, place).items():
                person.write(f"{place.path}/{name}", data.decode())
        tip = person.push("Everything that runs")
        repo = ConfigRepo(self._folder / "committer", self._url)
        repo.fetch()
        return [
            Target(
                project=place.project, environment=place.environment, service=place.service,
                deployment=token(place.path), release=release.id, image=release.image, sha=release.sha,
                config_commit=tip, tree=repo.tree(tip, place.path),
            )
            for place, release in zip(self._places, releases, strict=True)
        ]  # fmt: skip

    def chosen(self, count: int) -> Sequence[Place]:
        """Different services, by chance."""
        return self._random.sample(self._places, count)

    def next_release(self, place: Place) -> Release:
        """A release that nobody has seen."""
        self._number += 1
        return release_of(place, self._number)

    async def group(self, count: int) -> float:
        """Seconds in which releases of ``count`` different services are deployed and recorded."""
        releases = [self.next_release(place) for place in self.chosen(count)]
        for first in range(0, count, BATCH):
            await self._store.commit(Step(tuple(Change(one, None) for one in releases[first : first + BATCH])))
        events = [
            ReleaseReady(id=f"{one.run}/{one.service}", release=one.id, run=one.run, project=one.project,
                         service=one.service)
            for one in releases
        ]  # fmt: skip
        begun = time.monotonic()
        results = await self._committer.handle(events)
        _, stopped = await record(self._store, [result.step for result in results])
        took = time.monotonic() - begun
        mine = {one.id for one in releases}  # what git's own loop wrote is absorbed, and decided, on the way
        told = [decision for result in results for decision in result.decisions if decision.release in mine]
        accepted = sum(decision.outcome == "accepted" for decision in told)
        assert stopped is None, f"not recorded: {stopped}"
        assert accepted == count, f"{accepted} of {count} were deployed: {results[-1]}"
        return took


def place_of(number: int) -> Place:
    """The services, a hundred to a project."""
    return Place(f"p{number // PER_PROJECT}", "production", f"s{number}")


def release_of(place: Place, number: int) -> Release:
    """A release whose image nobody will run."""
    digest = hashlib.sha256(f"{place.path} v{number}".encode()).hexdigest()
    return Release(
        id=f"{place.project}.{place.service}.v{number}", project=place.project, service=place.service, number=number,
        image=f"registry.example:5000/{place.project}/{place.service}@sha256:{digest}", sha=f"{number:040x}",
        ref="refs/heads/main", repository=f"local:{place.project}/code", actor="deployer", subject_line="a change",
        source_url=f"http://git.example/{place.project}/code.git", run=f"r-{number}-{place.service}",
        spec=msgspec.Raw(msgspec.json.encode(ServiceSpec(name=place.service, port=8080, health="/healthz"))),
    )  # fmt: skip


def link(project: str) -> LinkRequested:
    """The wish to have a project."""
    return LinkRequested(
        id=f"link-{project}", project=project, repository=f"local:{project}/code", name="code", forge="local",
        url=f"http://git.example/{project}/code.git", actor="deployer",
    )  # fmt: skip


async def verdict(release: Release) -> Verdict:
    """The gate's answer, known before."""
    return Verdict(
        image=release.image, source_url=release.source_url, shas=(release.sha,), verified_at=now(),
        provenance="sha256:" + release.image[-64:],
    )  # fmt: skip


async def permitted(release: Release, policy: Policy, branch: str) -> str:
    """The policy's answer, known before."""
    return "sha256:" + release.image[-64:]


async def descends(_: str, new: str, old: str) -> bool | None:
    """Sources whose commits form one line."""
    return int(new, 16) >= int(old, 16)


async def nothing(_: Release) -> frozenset[str]:
    """No commit lifts a hold."""
    return frozenset()


FAMILY = Family((VS_GIT, GROWTH), measure)
