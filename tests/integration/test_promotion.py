"""Promotions on a real store and a real config repository: gates, sets, waits, proposals, and deaths in between."""

from __future__ import annotations

import datetime
from pathlib import Path

from gitops.layout import Place
from gitops.rules.freeze import stamp
from pipeline.errors import Refused
from pipeline.events import HoldRequested, ResumeRequested, RollbackRequested
from pipeline.records import Deployment, Project
from tests.support.committer_world import WEB, World, image_of, sha_of, told
from tests.support.config_git import git
from tests.support.promotion_world import (
    approve,
    branches,
    check,
    decided,
    freeze,
    observed,
    only,
    promote,
    promotions,
    released,
    ruled,
    staged,
    woken,
)

API = Place("shop", "production", "api")


def ago(seconds: float) -> str:
    return stamp(datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds))


def test_a_healthy_release_is_promoted_by_the_same_digest_in_one_commit(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world)
        await staged(world, 1)
        decision = await decided(world, promote())
        target = await world.target()
        assert (decision.outcome, decision.reason) == ("accepted", "promoted")
        assert (target.release, target.image) == ("shop.web.v1", image_of(1))
        assert world.log()[0] == "Promote shop/web from staging to production"
        one = await only(world)
        assert (one.status, one.config_commit) == ("done", target.config_commit)
        assert f"Enclii-Set: {one.id}" in world.log("%B")
        stored = await world.store.get(Deployment, target.deployment)
        assert stored is not None
        assert (stored.record.via, stored.record.set) == ("promotion", one.id)

    told(tmp_path, story)


def test_a_set_is_one_commit_and_one_revert_of_it_by_hand_takes_all_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world)
        await staged(world, 1, "web", "api")
        await world.do(promote("web", "api"))
        await staged(world, 2, "web", "api")
        before = len(world.log())
        await world.do(promote("web", "api", identity="c-2"))
        assert len(world.log()) == before + 1
        assert (await world.target(API)).config_commit == (await world.target(WEB)).config_commit
        assert world.log()[0] == "Promote shop/api, web from staging to production"
        person = world.person()
        person.git("revert", "--no-edit", "HEAD")
        person.push()
        await world.moved()
        assert [await released(world, place) for place in (WEB, API)] == ["shop.web.v1", "shop.api.v1"]
        assert (await world.target(WEB)).held
        assert (await world.target(API)).held

    told(tmp_path, story)


def test_a_rollback_of_the_set_takes_all_back_in_one_commit_and_holds(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world)
        for number in (1, 2):
            await staged(world, number, "web", "api")
            await world.do(promote("web", "api", identity=f"c-{number}"))
            for place in (WEB, API):
                await observed(world, place, "running", running_at=ago(60))
        second = (await promotions(world))[-1]
        before = len(world.log())
        back = RollbackRequested(id="c-back", project="shop", environment="production", set=second.id, actor="ada")
        decision = await decided(world, back)
        assert (decision.outcome, decision.reason) == ("accepted", "rolled_back")
        assert len(world.log()) == before + 1
        assert [await released(world, place) for place in (WEB, API)] == ["shop.web.v1", "shop.api.v1"]
        assert [(await world.target(place)).hold_from for place in (WEB, API)] == ["shop.web.v2", "shop.api.v2"]
        again = RollbackRequested(id="c-again", project="shop", environment="production", set=second.id, actor="ada")
        assert (await decided(world, again)).reason == "set_moved_on"

    told(tmp_path, story)


def test_an_unverified_release_is_refused_with_the_whole_set(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world)
        await staged(world, 1, "web", "api")
        world.refuse["shop.api.v1"] = Refused("no signature", reason="unsigned")
        decision = await decided(world, promote("web", "api"))
        assert (decision.outcome, decision.reason) == ("refused", "unsigned")
        assert "shop/production/web/deployment.yaml" not in world.files()

    told(tmp_path, story)


def test_what_nobody_runs_or_knows_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world)
        assert (await decided(world, promote("ghost"))).reason == "nothing_deployed"
        assert (await decided(world, promote(identity="c-2", environment="mars"))).reason == "unknown_environment"
        assert (await decided(world, promote(identity="c-3", source="mars"))).reason == "unknown_environment"

    told(tmp_path, story)


def test_an_environment_without_a_branch_is_entered_by_promotion_alone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world)
        await staged(world, 1)
        project = await world.store.get(Project, "shop")
        assert project is not None
        assert [one.branch for one in project.record.environments] == ["main", ""]
        assert "shop/production/web/deployment.yaml" not in world.files()

    told(tmp_path, story)


def test_what_waited_behind_a_hold_is_no_way_around_promotion(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{branch: main}")
        await world.do(await world.release(1))
        asked = {"project": "shop", "environment": "production", "service": "web", "actor": "ada"}
        await world.do(HoldRequested(id="c-hold", **asked))
        await world.do(await world.release(2))
        assert (await world.target(WEB)).held_release == "shop.web.v2"
        await ruled(world)
        said = await decided(world, ResumeRequested(id="c-go", **asked))

        assert "entered by promotion" in said.message
        assert (await released(world, WEB)) == "shop.web.v1"

    told(tmp_path, story)


def test_what_waited_for_a_thaw_is_no_way_around_promotion(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{branch: main}")
        await world.do(await world.release(1))
        await world.do(freeze())
        await world.do(await world.release(2))
        waiting = next(one for one in await promotions(world) if one.environment == "production")
        await ruled(world)
        await world.do(freeze(frozen=False))
        await woken(world, waiting)

        found = next(one for one in await promotions(world) if one.id == waiting.id)
        assert (found.status, found.reason) == ("refused", "only_by_promotion")
        assert (await released(world, WEB)) == "shop.web.v1"

    told(tmp_path, story)


def test_what_is_replaced_in_its_source_before_its_time_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{promotion: {from: staging, soak: 1h}}")
        await staged(world, 1)
        await world.do(promote())
        await staged(world, 2)
        await woken(world, await only(world))
        assert (await only(world)).reason == "left_source"
        assert (await world.decision("c-promote")).outcome == "refused"

    told(tmp_path, story)


def test_a_newer_promotion_takes_the_place_of_one_that_waits(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{promotion: {from: staging, approvals: 1}}")
        await staged(world, 1)
        await world.do(promote())
        await staged(world, 2)
        await world.do(promote(identity="c-2"))
        first, second = await promotions(world)
        assert (first.status, second.status) == ("superseded", "waiting")
        assert (await world.decision("c-promote")).reason == "superseded"
        assert (await decided(world, approve(first.id, "bob"))).outcome == "skipped"

    told(tmp_path, story)


def test_somebody_else_with_the_role_approves(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        rule = "{promotion: {from: staging, approvals: 1, approvers: [keepers]}}"
        await ruled(world, rule, roles="{keepers: [ada, bob]}")
        await staged(world, 1)
        await world.do(promote(actor="ada"))
        one = await only(world)
        assert one.reason == "needs_approval"
        assert (await decided(world, approve(one.id, "ada"))).reason == "own_promotion"
        assert (await decided(world, approve(one.id, "eve"))).reason == "not_an_approver"
        assert (await decided(world, approve(one.id, "bob"))).outcome == "accepted"
        assert await released(world, WEB) == "shop.web.v1"
        assert "Enclii-Approved: bob" in world.log("%B")

    told(tmp_path, story)


def test_a_rejected_promotion_is_over(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{promotion: {from: staging, approvals: 1}}")
        await staged(world, 1)
        await world.do(promote())
        await world.do(approve((await only(world)).id, "bob", "rejected"))
        assert (await only(world)).status == "rejected"
        assert (await world.decision("c-promote")).reason == "rejected"

    told(tmp_path, story)


def test_a_reported_check_lets_it_go_on_and_a_failed_one_ends_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{promotion: {from: staging, checks: [e2e]}}")
        await staged(world, 1)
        await world.do(promote())
        one = await only(world)
        assert one.reason == "check_missing"
        (result,) = await world.do(check(1, "success"))
        await world.do(*result.step.events)
        assert await released(world, WEB) == "shop.web.v1"
        await staged(world, 2)
        await world.do(check(2, "failure"))
        assert (await decided(world, promote(identity="c-2"))).reason == "check_failed"

    told(tmp_path, story)


def test_a_freeze_stops_promotions_and_an_override_is_kept_in_git(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{promotion: {from: staging}, freeze: [{from: 2020-01-01, until: 2099-01-01}]}")
        await staged(world, 1)
        decision = await decided(world, promote())
        assert (decision.outcome, decision.reason) == ("waiting", "frozen")
        assert (await only(world)).wake_at == "2099-01-01T00:00:00.000Z"
        overridden = await decided(world, promote(identity="c-2", override_freeze="the shop is down"))
        assert "the freeze was overridden: the shop is down" in overridden.message
        assert "Enclii-Override: the shop is down" in world.log("%B")

    told(tmp_path, story)


def test_in_a_freeze_pushes_wait_and_the_newest_goes_out_after_the_thaw(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.do(freeze())
        await world.do(await world.release(3))
        await world.do(await world.release(2))
        await world.do(await world.release(4))
        assert (await released(world, WEB)) == "shop.web.v1"
        assert (await world.decision("shop.web.v4/production")).outcome == "waiting"
        assert (await world.decision("shop.web.v2/production")).reason == "older_than_waiting"
        assert (await world.decision("shop.web.v3/production")).reason == "superseded"
        results = await world.do(freeze(frozen=False))
        await world.do(*[event for result in results for event in result.step.events])
        assert (await released(world, WEB)) == "shop.web.v4"
        assert (await world.decision("shop.web.v4/production")).outcome == "accepted"
        assert [one.status for one in await promotions(world)].count("done") == 1

    told(tmp_path, story)


def test_a_freeze_never_stops_a_rollback(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.deployed(2)
        await world.do(freeze())
        back = RollbackRequested(id="c-b", project="shop", environment="production", service="web", actor="ada")
        assert (await decided(world, back)).outcome == "accepted"
        assert (await released(world, WEB)) == "shop.web.v1"

    told(tmp_path, story)


def test_a_file_that_a_person_deletes_ends_the_freeze(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.do(freeze())
        await world.do(await world.release(1))
        person = world.person()
        person.git("rm", "-q", ".enclii/freeze.yaml")
        person.git("commit", "-qm", "thaw")
        person.push()
        results = await world.moved()
        await world.do(*[event for result in results for event in result.step.events])
        assert (await released(world, WEB)) == "shop.web.v1"

    told(tmp_path, story)


def test_a_protected_environment_is_entered_through_a_branch_that_an_approval_merges(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{protected: true, promotion: {from: staging}}")
        await staged(world, 1)
        await world.do(promote())
        one = await only(world)
        assert (one.status, branches(world)) == ("proposed", [one.branch, "main"])
        assert git("log", "-1", "--format=%s", one.branch, cwd=world.remote).strip().startswith("Promote shop/web")
        assert "shop/production/web/deployment.yaml" not in world.files()
        await world.do(approve(one.id, "bob"))
        assert await released(world, WEB) == "shop.web.v1"
        assert branches(world) == ["main"]

    told(tmp_path, story)


def test_a_proposal_is_written_again_when_others_moved_the_branch_and_only_then(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{protected: true, promotion: {from: staging}}")
        await staged(world, 1)
        await world.do(promote())
        branch = (await only(world)).branch
        first = git("rev-parse", branch, cwd=world.remote)
        await woken(world, await only(world))
        assert git("rev-parse", branch, cwd=world.remote) == first
        person = world.person()
        person.write("README.md", "ours")
        person.push()
        (moved, *_) = await world.moved()
        await world.do(*moved.step.events)
        assert git("rev-parse", f"{branch}^", cwd=world.remote) == git("rev-parse", "main", cwd=world.remote)

    told(tmp_path, story)


def test_a_proposal_of_the_same_services_is_updated_in_place(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{protected: true, promotion: {from: staging}}")
        await staged(world, 1)
        await world.do(promote())
        await staged(world, 2)
        await world.do(promote(identity="c-2"))
        first, second = await promotions(world)
        assert (first.status, second.status, first.branch) == ("superseded", "proposed", second.branch)
        assert image_of(2) in world.file("shop/production/web/deployment.yaml", at=second.branch)

    told(tmp_path, story)


def test_a_proposal_that_a_person_merges_is_done(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{protected: true, promotion: {from: staging}}")
        await staged(world, 1)
        await world.do(promote())
        branch = (await only(world)).branch
        person = world.person()
        person.git("fetch", "-q", "origin", branch)
        person.git("merge", "-q", "--no-ff", "--no-edit", "FETCH_HEAD")
        person.push()
        await world.moved()
        assert await released(world, WEB) == "shop.web.v1"
        assert ((await only(world)).status, (await world.decision("c-promote")).reason) == ("done", "merged")
        assert branches(world) == ["main"]

    told(tmp_path, story)


def test_a_death_between_push_and_record_promotes_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world)
        await staged(world, 1, "web", "api")
        event = promote("web", "api")
        await world.committer.handle([event])
        commits = len(world.log())
        world.committer = world.new_committer("other")
        await world.do(event)
        assert len(world.log()) == commits
        one = await only(world)
        assert (one.status, [member.service for member in one.members]) == ("done", ["web", "api"])
        assert (await world.decision("c-promote")).outcome == "accepted"
        assert (await world.target(API)).image == image_of(1, "api")

    told(tmp_path, story)


def test_a_promotion_that_a_force_push_left_aside_needs_force(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ruled(world, "{protected: true, promotion: {from: staging, by: commit}}")
        await staged(world, 1)
        await world.do(promote())
        world.diverged.add((sha_of(2), sha_of(1)))
        await staged(world, 2)
        assert (await decided(world, promote(identity="c-2"))).reason == "diverged"
        assert (await decided(world, promote(identity="c-3", force=True))).outcome == "accepted"

    told(tmp_path, story)
