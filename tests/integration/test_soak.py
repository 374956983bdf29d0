"""Healthy for its time: by an observer who looked all the while, on a real store and config repository."""

from __future__ import annotations

import datetime
from pathlib import Path

from gitops.rules.freeze import stamp
from gitops.syncing.heartbeat import Heartbeat
from pipeline.records import Observer
from pipeline.store import Change, Step
from tests.support.committer_world import WEB, World, told
from tests.support.promotion_world import decided, healthy, only, promote, released, ruled, staged, woken


def ago(seconds: float) -> str:
    return stamp(datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds))


async def looked(world: World, *, since: float, last: float) -> None:
    """Say how long somebody has looked, and when last."""
    await world.store.commit(Step((Change(Observer(since=ago(since), at=ago(last)), None),)))


def test_a_release_soaks_and_then_goes_on_by_itself(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{promotion: {from: staging, soak: 1h}}")
        await staged(world, 1, healthy_since=ago(60))
        decision = await decided(world, promote())
        one = await only(world)
        assert (decision.outcome, decision.reason, one.status) == ("waiting", "soaking", "waiting")
        assert one.wake_at > ago(0)
        await woken(world, one, "early")
        assert (await only(world)).status == "waiting"
        await healthy(world, since=ago(3601))
        await woken(world, one)
        assert await released(world, WEB) == "shop.web.v1"
        assert (await world.decision("c-promote")).outcome == "accepted"

    told(tmp_path, story)


def test_a_soak_that_nobody_saw_the_end_of_is_none(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{promotion: {from: staging, soak: 1h}}")
        await staged(world, 1, healthy_since=ago(4000))
        await looked(world, since=5000, last=120)
        assert (await decided(world, promote())).reason == "not_observed"

        await Heartbeat(world.store).beat()  # somebody looks again, after a gap: the soak begins anew
        await woken(world, await only(world))
        one = await only(world)
        assert (one.status, one.reason) == ("waiting", "soaking")
        assert one.wake_at > ago(-3500)

        await looked(world, since=3700, last=0)
        await woken(world, one, "later")
        assert await released(world, WEB) == "shop.web.v1"

    told(tmp_path, story)
