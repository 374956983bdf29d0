"""Promotions where a forge has the config repository and the sources: pull requests that people merge, and checks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from gitops.committing.commit_loop import commit_forever
from gitops.forge.commit_checks import CommitChecks
from gitops.forge.forges import Forges
from gitops.forge.github import GitHub as Client
from gitops.forge.promotions import Promotions
from gitops.forge.proposals import Proposals
from gitops.syncing.waker import Waker
from pipeline.main import in_background
from pipeline.origin import Origin
from pipeline.promotions import Promotion
from pipeline.records import Release, Repository
from pipeline.store import Change, Step
from tests.support.committer_world import WEB, World, sha_of, told
from tests.support.github import NUMBER, TOKEN, GitHub, running_github
from tests.support.promotion_world import branches, check, only, promote, released, ruled, staged

PROTECTED = "{protected: true, promotion: {from: staging}}"
LIMIT = 60.0


class Forge:
    """A world whose config repository, and whose sources, are at the tests' GitHub too."""

    def __init__(self, world: World, github: GitHub) -> None:
        self.world, self.github = world, github
        self._folder = world.tmp / "forges"
        self._folder.mkdir()
        self.host = github.url.removeprefix("http://")
        file = self._folder / f"{self.host}.json"
        file.write_text(json.dumps({"forge": "github", "api": github.url, "token": TOKEN}))
        file.chmod(0o600)

    @contextlib.asynccontextmanager
    async def process(self) -> AsyncIterator[None]:
        """What the process of the forges does for promotions, from its start to its end."""
        store = self.world.store
        forges = Forges(store, self._folder, {"github": Client})
        url = f"{self.github.url}/shop/config.git"
        proposals = Proposals(store, forges, config_url=url, branch="main", console_url="https://enclii.test")
        promotions = Promotions(store, CommitChecks(store, forges), proposals, pause=0.1)
        async with in_background(promotions.follow(), promotions.hints(), promotions.work()):
            yield

    @contextlib.asynccontextmanager
    async def committer(self) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        working = commit_forever(self.world.new_committer("loop"), self.world.store, stopping)
        async with in_background(working, Waker(self.world.store).follow()):
            yield

    async def until(self, such: Callable[[Promotion], object], identity: str = "") -> Promotion:
        """The newest promotion, once it is so."""
        async with asyncio.timeout(LIMIT):
            while True:
                found = [one for one in await self.world.store.all(Promotion) if identity in ("", one.command)]
                if found and such(newest := max(found, key=lambda one: one.created_at)):
                    return newest
                await asyncio.sleep(0.05)

    def merge(self, pull: int, *way: str) -> None:
        """What GitHub does on the button."""
        person, branch = self.world.person(), self.github.pulls[pull]["head"]["ref"]
        person.git("fetch", "-q", "origin", branch)
        if way == ("squash",):
            person.git("merge", "-q", "--squash", "FETCH_HEAD")
            person.git("commit", "-qm", self.github.pulls[pull]["title"] + f" (#{pull})")
        elif way == ("rebase",):
            person.git("-c", "rebase.forceRebase=true", "cherry-pick", "FETCH_HEAD")
        else:
            person.git("merge", "-q", "--no-ff", "--no-edit", "FETCH_HEAD")
        person.push()
        self.github.pulls[pull] |= {"state": "closed", "merged": True}


def on_github(tmp: Path, story: Callable[[Forge], object]) -> None:
    async def whole(world: World) -> None:
        async with running_github() as github:
            await story(Forge(world, github))  # type: ignore[misc]

    told(tmp, whole, limit=240)


def test_a_promotion_is_one_pull_request_whatever_github_and_the_process_do(tmp_path: Path) -> None:
    async def story(forge: Forge) -> None:
        world, github = forge.world, forge.github
        await ruled(world, PROTECTED)
        await staged(world, 1)
        github.fail("POST .*/pulls", 502, heard=True)
        async with forge.committer():
            await world.store.publish(promote(why="for @all | now"))
            async with forge.process():
                await forge.until(lambda one: one.pull)
            async with forge.process():  # again, by one that knows nothing
                one = await forge.until(lambda one: one.message.endswith(one.pull_url))
        (pull,) = github.pulls.values()
        assert (one.status, one.pull_url) == ("proposed", pull["html_url"])
        assert (await world.decision("c-promote")).message == one.message
        assert (pull["head"]["ref"], pull["base"]["ref"]) == (one.branch, "main")
        assert pull["title"] == "Promote shop/web from staging to production"
        assert "@all" not in pull["body"]
        assert github.said("POST", "/pulls$") == 1

    on_github(tmp_path, story)


@pytest.mark.parametrize("way", ["merge", "squash", "rebase"])
def test_a_pull_request_that_is_merged_is_the_deployment(tmp_path: Path, way: str) -> None:
    async def story(forge: Forge) -> None:
        world = forge.world
        await ruled(world, PROTECTED)
        await staged(world, 1)
        async with forge.committer(), forge.process():
            await world.store.publish(promote())
            one = await forge.until(lambda one: one.pull)
            forge.merge(one.pull, way)
            done = await forge.until(lambda one: one.status != "proposed")
        assert (done.status, done.reason) == ("done", "merged")
        assert await released(world, WEB) == "shop.web.v1"
        assert branches(world) == ["main"]

    on_github(tmp_path, story)


def test_a_pull_request_that_is_closed_ends_the_promotion_and_says_so(tmp_path: Path) -> None:
    async def story(forge: Forge) -> None:
        world, github = forge.world, forge.github
        await ruled(world, PROTECTED)
        await staged(world, 1)
        async with forge.committer(), forge.process():
            await world.store.publish(promote())
            one = await forge.until(lambda one: one.pull)
            github.pulls[one.pull] |= {"state": "closed"}
            ended = await forge.until(lambda one: one.status != "proposed")
        assert (ended.status, ended.reason) == ("refused", "pull_request_closed")
        decision = await world.decision("c-promote")
        assert (decision.outcome, decision.message) == ("refused", f"{one.pull_url} was closed without a merge")
        assert branches(world) == ["main"]
        assert "shop/production/web/deployment.yaml" not in world.files()

    on_github(tmp_path, story)


def test_a_newer_promotion_takes_over_the_pull_request_of_the_one_before(tmp_path: Path) -> None:
    async def story(forge: Forge) -> None:
        world, github = forge.world, forge.github
        await ruled(world, PROTECTED)
        async with forge.process():
            for number in (1, 2):
                await staged(world, number)
                async with forge.committer():
                    await world.store.publish(promote(identity=f"c-{number}"))
                    await forge.until(lambda one: one.pull, identity=f"c-{number}")
        (pull,) = github.pulls.values()
        assert "| v2 |" in pull["body"]
        assert (pull["state"], github.said("POST", "/pulls$")) == ("open", 1)

    on_github(tmp_path, story)


def test_a_forge_that_opens_no_pull_request_leaves_the_branch_and_the_reason(tmp_path: Path) -> None:
    async def story(forge: Forge) -> None:
        await ruled(forge.world, PROTECTED)
        await staged(forge.world, 1)
        forge.github.fail("POST .*/pulls", 403, times=1_000, message="Resource not accessible")
        async with forge.committer(), forge.process():
            await forge.world.store.publish(promote())
            one = await forge.until(lambda one: one.pull_problem)
        assert f"as the branch {one.branch} of the config repository: merge it, or enclii approve" in one.message
        assert "lacks this permission" in one.message

    on_github(tmp_path, story)


async def sources_at_github(forge: Forge) -> None:
    """Let the releases be of a repository that GitHub has."""
    shop = Repository(
        id="github:shop/shop", project="shop", name="shop", forge="github", url=f"http://{forge.host}/shop/shop.git"
    )
    origin = Origin(id=f"github:{NUMBER}", repository=shop.id, name="shop/shop")
    releases = [replace(one, repository=shop.id) for one in await forge.world.store.all(Release)]
    await forge.world.store.commit(Step(tuple(Change(one, None) for one in (shop, origin, *releases))))


async def waits_for_checks(forge: Forge, names: str) -> None:
    """A release on staging, which goes on once GitHub says that these checks of its commit ended well."""
    await ruled(forge.world, f"{{promotion: {{from: staging, checks: [{names}]}}}}")
    await staged(forge.world, 1)
    await sources_at_github(forge)


def test_checks_of_the_forge_are_waited_for_by_name_and_let_it_go_on(tmp_path: Path) -> None:
    async def story(forge: Forge) -> None:
        world, github = forge.world, forge.github
        await waits_for_checks(forge, "e2e, lint")
        github.statuses.append({"sha": sha_of(1), "context": "e2e", "state": "pending"})
        async with forge.committer(), forge.process():
            await world.store.publish(promote())
            one = await forge.until(lambda one: "e2e has not ended" in one.message)
            assert (one.reason, "the check lint was not reported" in one.message) == ("check_missing", True)
            run = {"head_sha": sha_of(1), "name": "lint", "status": "completed", "conclusion": "success"}
            github.checks[1] = {"id": 1, **run}
            await forge.until(lambda one: "lint" not in one.message)
            github.statuses.append({"sha": sha_of(1), "context": "e2e", "state": "success"})
            await forge.until(lambda one: one.status == "done")
        assert await released(world, WEB) == "shop.web.v1"

    on_github(tmp_path, story)


def test_a_check_that_failed_at_the_forge_refuses_and_nobody_can_say_otherwise(tmp_path: Path) -> None:
    async def story(forge: Forge) -> None:
        world, github = forge.world, forge.github
        await waits_for_checks(forge, "e2e")
        github.statuses.append({"sha": sha_of(1), "context": "e2e", "state": "error"})
        async with forge.committer(), forge.process():
            await world.store.publish(promote())
            one = await forge.until(lambda one: one.status == "refused")
            assert (one.reason, "e2e failed" in one.message) == ("check_failed", True)
        await world.do(check(1, "success"))
        assert (await world.decision("c-e2e-success")).reason == "check_of_forge"

    on_github(tmp_path, story)


def test_what_a_forge_said_before_counts_for_nothing_while_it_is_away(tmp_path: Path) -> None:
    async def story(forge: Forge) -> None:
        world, github = forge.world, forge.github
        await waits_for_checks(forge, "e2e")
        await world.do(replace(check(1, "success"), forge="github"))
        away = github.fail("GET .*/commits/", 503, times=1_000)
        async with forge.committer(), forge.process():
            await world.store.publish(promote())
            one = await forge.until(lambda one: away.times < 998)
            assert (one.status, one.reason) == ("waiting", "check_missing")
            away.times = 0
            github.statuses.append({"sha": sha_of(1), "context": "e2e", "state": "success"})
            assert (await forge.until(lambda one: one.status == "done")).id == (await only(world)).id

    on_github(tmp_path, story)
