"""A service that vanished from enclii.yaml: told by the planner, marked in git by the committer, gone by destroy."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from gitops.layout import Place
from pipeline.bus import connect
from pipeline.events import Delivery, DeployRequested, DestroyRequested, ServicesDeclared
from pipeline.mirror import Mirror
from pipeline.records import Branch, Decision, Environment, Project, Repository, Run, Target
from pipeline.registry import Registry
from pipeline.stages.plan import Planner
from pipeline.store import Change, Step, Store
from tests.integration.test_mirror import FILE, commit, mirror_of, pygit2
from tests.support.committer_world import WEB, World, rollback, sha_of, told
from tests.support.components import needs
from tests.support.nats import running_nats

API = Place("shop", "production", "api")
BOTH, ALONE = ("api", "web"), ("web",)
FILE_OF = {
    BOTH: b"services:\n  web: {path: web, port: 8080}\n  api: {path: api, port: 8080}\n",
    ALONE: b"services:\n  web: {path: web, port: 8080}\n",
}


async def declare(world: World, *services: str, number: int = 9, **given: str) -> ServicesDeclared:
    """The head of a branch has these services: the branch's record and the event, as the planner writes them."""
    at = {"repository": "local:shop/shop", "ref": "refs/heads/main", **given}
    branch = Branch(head=sha_of(number), run=f"r-{number}", at="", services=services, **at)
    await world.store.commit(Step((Change(branch, None),)))
    event = ServicesDeclared(
        id=f"r-{number}/services", project="shop", sha=sha_of(number), services=services, actor="deployer", **at
    )
    await world.do(event)
    return event


async def both(world: World) -> None:
    await world.do(await world.release(1), await world.release(1, "api"))


def test_what_vanished_is_marked_once_and_destroyed_by_its_own_commit(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await both(world)
        event = await declare(world, *ALONE)
        await world.do(event)
        assert world.log()[0] == "Mark shop/api in production as orphaned"
        assert sha_of(9) in world.file("shop/production/api/orphaned.yaml")
        api = await world.target(API)
        assert (api.orphaned, api.release, (await world.target()).orphaned) == (True, "shop.api.v1", False)
        said = await world.decision(f"{event.id}/{API.path}")
        assert (said.about, said.reason, said.sha) == ("commit", "orphaned", sha_of(9))

        asked = {"project": "shop", "environment": "production", "service": "api"}
        await world.do(DestroyRequested(id="c-9", actor="operator", **asked))
        assert world.log()[0] == "Remove shop/api from production"
        assert not [one for one in world.files() if one.startswith(API.path)]
        api = await world.target(API)
        assert (api.orphaned, api.deployment) == (False, "")
        await declare(world, *ALONE, number=10)
        assert world.log()[0] == "Remove shop/api from production"
        await world.do(DeployRequested(id="c-10", release="shop.api.v1", actor="operator", **asked))
        assert (world.log()[0], (await world.target(API)).orphaned) == ("Deploy shop/api v1 to production", True)

    told(tmp_path, story)


def test_a_mark_outlives_a_rollback_and_a_late_release_and_goes_when_the_service_is_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await both(world)
        await world.do(await world.release(2, "api"))
        await declare(world, *ALONE)
        await world.do(await world.release(3, "api"))
        assert (await world.target(API)).orphaned
        await world.do(rollback("c-1", service="api", to=1))
        api = await world.target(API)
        assert (api.orphaned, api.release, api.held) == (True, "shop.api.v1", True)

        await declare(world, *BOTH, number=10)
        assert world.log()[0] == "Unmark shop/api in production: it is declared again"
        assert f"{API.path}/orphaned.yaml" not in world.files()
        api = await world.target(API)
        assert (api.orphaned, api.release, api.held) == (False, "shop.api.v1", True)

    told(tmp_path, story)


def test_a_release_that_comes_after_its_service_was_dropped_or_came_back_is_told_so_in_its_own_commit(
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        await declare(world, *ALONE)
        await world.do(await world.release(1, "api"))
        assert (world.log()[0], (await world.target(API)).orphaned) == ("Deploy shop/api v1 to production", True)
        branch = Branch(repository="local:shop/shop", ref="refs/heads/main", head="", run="", at="", services=BOTH)
        await world.store.commit(Step((Change(branch, None),)))
        await world.do(await world.release(2, "api"))
        assert (world.log()[0], (await world.target(API)).orphaned) == ("Deploy shop/api v2 to production", False)

    told(tmp_path, story)


def test_another_branch_another_repository_and_an_overtaken_push_mark_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await both(world)
        await declare(world, "docs", number=7, ref="refs/heads/next")
        await declare(world, "docs", number=8, repository="local:shop/docs")
        late = await declare(world, *BOTH)
        await world.do(replace(late, id="r-6/services", services=ALONE))
        assert world.log()[0] == "Deploy shop/api v1 to production"

    told(tmp_path, story)


def test_what_is_promoted_is_not_marked(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await both(world)
        stored = await world.store.get(Project, "shop")
        assert stored is not None
        promoted = replace(stored.record, environments=(Environment(name="production", branch=""),))
        await world.store.commit(Step((Change(promoted, None),)))
        await declare(world, *ALONE)
        assert not (await world.target(API)).orphaned

    told(tmp_path, story)


def test_the_mark_is_read_from_git_again_and_a_person_may_take_it_away(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await both(world)
        await declare(world, *ALONE)
        with running_nats(tmp_path / "empty") as url:
            bus = await connect(url, name="new", wait=60.0)
            await bus.create_streams()
            world.store, lost = Store(bus), world.store
            world.committer = world.new_committer("another")
            await world.moved()
            assert (await world.target(API)).orphaned
            await bus.close()
        world.store = lost
        world.committer = world.new_committer()

        person = world.person()
        person.git("revert", "--no-edit", "HEAD")
        person.git("push", "-q", "origin", "main")
        await world.moved()
        api = await world.target(API)
        assert (api.orphaned, api.release) == (False, "shop.api.v1")

    told(tmp_path, story)


def test_a_push_that_touches_nothing_else_tells_which_services_are_left(tmp_path: Path) -> None:
    needs("git")
    source = pygit2.init_repository(str(tmp_path / "source"), bare=True, initial_head="main")
    docker = {f"{name}/Dockerfile": (FILE, b"FROM scratch\n") for name in BOTH}
    first = commit(source, {"enclii.yaml": (FILE, FILE_OF[BOTH]), **docker})
    second = commit(source, {"enclii.yaml": (FILE, FILE_OF[ALONE]), **docker}, first)

    async def go(url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        await bus.create_streams()
        store = Store(bus)
        await store.commit(Step(tuple(Change(one, None) for one in _known(first))))

        async def mirror(_: Repository) -> Mirror:
            return mirror_of(source)

        planner = Planner(store, Registry("registry.example:5000", plain_http=True), mirror)
        step = await planner.handle(_push("d-1", second))
        await store.commit(step)
        (told,) = step.events
        assert isinstance(told, ServicesDeclared)
        assert (told.services, told.sha) == (ALONE, second)
        decision = await store.get(Decision, "d-1")
        assert decision is not None
        assert decision.record.reason == "nothing_touched"
        assert "orphaned where deployed: api" in decision.record.message

        third = commit(source, {"enclii.yaml": (FILE, FILE_OF[ALONE] + b"# a word\n"), **docker}, second)
        step = await planner.handle(_push("d-2", third))
        assert not step.events, "nobody is told the same again"
        assert [change.record for change in step.changes if isinstance(change.record, Run)]
        await bus.close()

    with running_nats(tmp_path / "nats") as url:
        asyncio.run(go(url))


def _known(sha: str) -> tuple[Project | Repository | Branch | Target, ...]:
    repository = Repository(id="local:shop/shop", project="shop", name="shop", forge="local", url="http://git.example")
    project = Project(
        slug="shop", environments=(Environment(name="production", branch="main"),), repositories=(repository.id,)
    )
    branch = Branch(repository=repository.id, ref="refs/heads/main", head=sha, run="r-0", at="", services=BOTH)
    web = Target(
        project="shop", environment="production", service=WEB.service, deployment="d", release="shop.web.v1",
        image="", sha=sha, config_commit="",
    )  # fmt: skip
    return project, repository, branch, web


def _push(identity: str, sha: str) -> Delivery:
    return Delivery(
        id=identity, forge="local", kind="push", repository="local:shop/shop", ref="refs/heads/main", after=sha,
        actor="deployer",
    )  # fmt: skip
