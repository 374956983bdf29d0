"""Automatic rollback on a real store and a real config repository: once, marked, held, and never of a rollback."""

from __future__ import annotations

import datetime
from pathlib import Path

from gitops.layout import Place
from gitops.rules.freeze import stamp
from pipeline.errors import Retryable
from pipeline.events import DeploymentObserved
from pipeline.records import Decision
from tests.support.committer_world import WEB, World, rollback, told
from tests.support.promotion_world import observed, promote, promotions, released, ruled, staged

API = Place("shop", "production", "api")
ASKED = "{branch: main, rollback: {automatic: true}}"
PROMOTED = "{promotion: {from: staging}, rollback: {automatic: true}}"


def at(seconds: float) -> str:
    return stamp(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds))


async def seen(world: World, status: str = "failed", *, when: float = 0, place: Place = WEB) -> DeploymentObserved:
    """The event by which the observer says so of what is wanted."""
    deployment = (await world.target(place)).deployment
    return DeploymentObserved(
        id=f"{deployment}/{status}", at=at(when), deployment=deployment, project=place.project,
        environment=place.environment, service=place.service, status=status, reason="crash_loop",  # type: ignore[arg-type]
    )  # fmt: skip


async def broken(world: World, status: str = "failed", place: Place = WEB, **changes: object) -> DeploymentObserved:
    await observed(world, place, status, **changes)
    return await seen(world, status, place=place)


def test_a_failed_release_goes_back_once_and_says_why(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, ASKED)
        await world.deployed(1)
        await world.do(await world.release(2))
        event = await broken(world)
        await world.do(event)
        await world.do(event)
        target = await world.target()
        assert (target.release, target.held, target.hold_by) == ("shop.web.v1", True, "Enclii")
        assert world.log().count("Revert shop/web in production to v1") == 1
        assert "Enclii-Automatic: crash_loop" in world.log("%B")
        decision = await world.decision(f"automatic/{event.deployment}")
        assert (decision.outcome, decision.reason) == ("accepted", "rolled_back_automatically")
        assert decision.message.endswith("automatically: crash_loop")
        assert decision.release == "shop.web.v2"

    told(tmp_path, story)


def test_a_death_between_push_and_record_goes_back_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, ASKED)
        await world.deployed(1)
        await world.do(await world.release(2))
        event = await broken(world)
        await world.committer.handle([event])
        world.committer = world.new_committer("other")
        await world.do(event)
        assert world.log().count("Revert shop/web in production to v1") == 1
        assert (await world.decision(f"automatic/{event.deployment}")).reason == "rolled_back_automatically"

    told(tmp_path, story)


def test_nothing_goes_back_where_nobody_asked_for_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.do(await world.release(2))
        event = await broken(world)
        await world.do(event)
        assert await released(world, WEB) == "shop.web.v2"
        assert await world.store.get(Decision, f"automatic/{event.deployment}") is None

    told(tmp_path, story)


def test_a_rollback_that_fails_is_left_to_a_person(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, ASKED)
        await world.deployed(1)
        await world.deployed(2)
        await world.do(rollback(hold=False))
        event = await broken(world)
        await world.do(event)
        assert await released(world, WEB) == "shop.web.v1"
        assert (await world.decision(f"automatic/{event.deployment}")).reason == "is_a_rollback"

    told(tmp_path, story)


def test_what_is_degraded_comes_again_until_it_has_settled(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, ASKED)
        await world.deployed(1)
        await world.deployed(2)
        fresh = await broken(world, "degraded", running_at=at(-60))
        (result,) = await world.do(fresh)
        assert isinstance(result.error, Retryable)
        assert result.error.delay is not None
        assert 0 < result.error.delay <= 30
        await world.do(await seen(world, "degraded", when=-31))
        assert await released(world, WEB) == "shop.web.v1"

    told(tmp_path, story)


def test_a_first_release_that_fails_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, ASKED)
        await world.do(await world.release(1))
        event = await broken(world)
        await world.do(event)
        decision = await world.decision(f"automatic/{event.deployment}")
        assert (decision.outcome, decision.reason) == ("skipped", "nothing_to_roll_back_to")

    told(tmp_path, story)


def test_a_failed_member_takes_its_whole_set_back_and_a_new_service_away(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, PROMOTED)
        await staged(world, 1)
        await world.do(promote(identity="c-1"))
        await observed(world, WEB, "running", running_at=at(-60))
        await staged(world, 2, "web", "api")
        await world.do(promote("web", "api", identity="c-2"))
        before = len(world.log())
        event = await broken(world)
        await world.do(event)
        assert len(world.log()) == before + 1
        assert await released(world, WEB) == "shop.web.v1"
        assert await released(world, API) == ""
        assert "shop/production/api/deployment.yaml" not in world.files()
        assert (await world.decision(f"automatic/{event.deployment}")).outcome == "accepted"
        assert len(await promotions(world)) == 2

    told(tmp_path, story)


def test_a_deployment_that_goes_well_costs_no_look_at_git(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        event = await seen(world, "running")
        world.committer = world.new_committer("other")
        (result,) = await world.committer.handle([event])
        assert (result.event, result.step.changes) == (event, ())
        objects = tmp_path / "other" / "objects"
        assert not list(objects.rglob("*.pack"))
        await world.committer.handle([await seen(world, "failed")])
        assert list(objects.rglob("*.pack"))

    told(tmp_path, story)
