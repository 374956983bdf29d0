"""The committer against a real store and a real config repository: releases, commands, order and races."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from pipeline.bus import Write
from pipeline.errors import Unavailable
from pipeline.events import (
    ConfigMoved,
    DeployRequested,
    HoldRequested,
    ResumeRequested,
    SecretChanged,
)
from pipeline.records import ConfigTip, Deployment, Project, Release, Repository, Target
from pipeline.store import Change, Step
from tests.support.committer_world import WEB, World, image_of, rollback, sha_of, told


def test_a_link_writes_the_project_file_and_its_records(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        project = await world.store.get(Project, "shop")
        repository = await world.store.get(Repository, "local:shop/shop")
        assert project is not None
        assert repository is not None
        assert [(one.name, one.branch) for one in project.record.environments] == [("production", "main")]
        said = await world.decision("link-1")
        assert (said.reason, said.message) == ("linked", "shop is linked to shop")
        assert world.files() == ["shop/project.yaml"]

    told(tmp_path, story)


def test_a_release_becomes_one_commit_with_its_trailers_and_records(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.do(await world.release(1))
        target = await world.target()
        message = world.log("%B%n%an|%cn")[0:20]
        assert message[0] == "Deploy shop/web v1 to production"
        assert f"Enclii-Image: {image_of(1)}" in message
        assert "Enclii-Intent: r-1/web" in message
        assert "deployer|Enclii" in message
        assert target.config_commit == world.log("%H")[0]
        assert await world.status(target.deployment) == "pending"
        tip = await world.store.get(ConfigTip, "main")
        assert tip is not None
        assert tip.record.commit == target.config_commit

    told(tmp_path, story)


def test_a_group_is_one_commit_each_and_one_release_is_deployed_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        events = [await world.release(number, service) for service in ("web", "api") for number in (1, 2)]
        await world.do(*events)
        await world.do(*events)
        assert [subject for subject in world.log() if subject.startswith("Deploy")] == [
            "Deploy shop/api v2 to production",
            "Deploy shop/api v1 to production",
            "Deploy shop/web v2 to production",
            "Deploy shop/web v1 to production",
        ]

    told(tmp_path, story)


def test_a_death_between_push_and_record_makes_no_second_commit(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        event = await world.release(1)
        lost = await world.committer.handle([event])
        world.committer = world.new_committer()
        results = await world.do(event)
        assert len(world.log()) == 2
        assert results[0].event is None
        target = await world.target()
        assert target.release == "shop.web.v1"
        assert lost[0].step.changes[0].record.key == (target.deployment,)
        assert (await world.decision("shop.web.v1/production")).outcome == "accepted"

    told(tmp_path, story)


def test_a_lost_race_is_applied_again_on_the_new_tip(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        rivals = [world.new_committer("mirror-a"), world.new_committer("mirror-b")]
        events = [await world.release(1, service) for service in ("web", "api")]
        results = await asyncio.gather(*(one.handle([event]) for one, event in zip(rivals, events, strict=True)))
        assert not [result.error for some in results for result in some if result.error]
        assert len(world.log()) == 3
        assert {"shop/production/web/deployment.yaml", "shop/production/api/deployment.yaml"} <= set(world.files())

    told(tmp_path, story)


def test_a_push_that_a_hook_refuses_leaves_every_event_to_come_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        hook = world.remote / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        event = await world.release(1)
        (refused,) = await world.do(event)
        assert isinstance(refused.error, Unavailable)
        assert not refused.step
        hook.unlink()
        await world.do(event)
        assert (await world.target()).release == "shop.web.v1"

    told(tmp_path, story)


def test_an_older_release_never_replaces_a_newer_one(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(2)
        await world.do(await world.release(1))
        assert (await world.target()).release == "shop.web.v2"
        decision = await world.decision("shop.web.v1/production")
        assert (decision.outcome, decision.reason) == ("skipped", "older_than_deployed")

    told(tmp_path, story)


def test_after_a_force_push_an_unprotected_environment_deploys_and_says_so(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        world.diverged.add((sha_of(2), sha_of(1)))
        await world.do(await world.release(2))
        assert (await world.target()).release == "shop.web.v2"
        assert (await world.decision("shop.web.v2/production")).outcome == "forced"

    told(tmp_path, story)


def test_a_protected_environment_refuses_a_force_push_until_somebody_insists(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = world.person()
        text = world.file("shop/project.yaml")
        person.write("shop/project.yaml", text.replace("branch: main", "branch: main\n    protected: true"))
        person.push()
        await world.deployed(1)
        world.diverged.add((sha_of(2), sha_of(1)))
        await world.do(await world.release(2))
        assert (await world.decision("shop.web.v2/production")).reason == "diverged"
        insist = DeployRequested(
            id="c-1", project="shop", environment="production", release="shop.web.v2", force=True, actor="deployer"
        )
        await world.do(insist)
        assert (await world.target()).release == "shop.web.v2"
        assert (await world.decision("c-1")).outcome == "forced"

    told(tmp_path, story)


def test_a_release_of_a_branch_that_feeds_nothing_is_skipped(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        event = await world.release(1)
        stored = await world.store.get(Release, event.release)
        assert stored is not None
        await world.store.commit(Step((Change(replace(stored.record, ref="refs/heads/topic"), stored.seq),)))
        await world.do(event)
        assert (await world.decision("shop.web.v1")).reason == "no_environment"
        assert len(world.log()) == 1

    told(tmp_path, story)


def test_a_rollback_brings_back_image_and_configuration_and_holds(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = await world.deployed(1)
        await world.do(await world.release(2, replicas=3, health="/other"))
        second = await world.seen_running()
        await world.do(rollback(why="errors"))
        target = await world.target()
        assert target.image == image_of(1)
        assert (target.held, target.hold_from, target.hold_reason) == (True, "shop.web.v2", "errors")
        path = "shop/production/web/deployment.yaml"
        assert world.file(path) == world.file(path, at=first.config_commit)
        assert world.log()[0] == "Revert shop/web in production to v1"
        assert f"Enclii-Reverts: {second.config_commit}" in world.log("%B")
        assert await world.status(second.id) == "rolled_back"

    told(tmp_path, story)


def test_a_held_service_lets_releases_wait_and_a_resume_deploys_the_newest(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.deployed(2)
        await world.do(rollback())
        await world.do(await world.release(4))
        await world.do(await world.release(3))
        waiting = await world.target()
        assert (waiting.release, waiting.held_release) == ("shop.web.v1", "shop.web.v4")
        assert (await world.decision("shop.web.v4/production")).outcome == "held"
        await world.do(ResumeRequested(id="c-2", project="shop", environment="production", service="web"))
        target = await world.target()
        assert (target.release, target.held, target.held_release) == ("shop.web.v4", False, "")
        assert "shop/production/web/hold.yaml" not in world.files()

    told(tmp_path, story)


def test_a_resume_with_nothing_left_to_commit_is_decided_too(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.do(await world.release(1))
        stored = await world.store.get(Target, *WEB)
        assert stored is not None
        waits = replace(stored.record, held_release="shop.web.v9")
        await world.store.commit(Step((Change(waits, stored.seq),)))
        await world.do(ResumeRequested(id="resume-1", project=WEB[0], environment=WEB[1], service=WEB[2]))
        said = await world.decision("resume-1")
        assert (said.outcome, said.reason) == ("accepted", "resumed")
        assert "v9 was not deployed" in said.message

    told(tmp_path, story)


def test_a_commit_with_the_resume_trailer_ends_the_hold(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.do(HoldRequested(id="c-1", project="shop", environment="production", service="web"))
        world.resuming["shop.web.v2"] = frozenset({"production"})
        await world.do(await world.release(2))
        target = await world.target()
        assert (target.release, target.held) == ("shop.web.v2", False)

    told(tmp_path, story)


def test_of_two_rollbacks_at_once_the_second_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.deployed(2)
        third = await world.deployed(3)
        await world.do(rollback("c-1", expected=third.id), rollback("c-2", expected=third.id))
        assert (await world.target()).release == "shop.web.v2"
        assert (await world.decision("c-1")).outcome == "accepted"
        assert (await world.decision("c-2")).reason == "moved_meanwhile"

    told(tmp_path, story)


def test_a_rollback_with_nothing_to_go_back_to_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.do(rollback())
        assert (await world.decision("c-1")).reason == "nothing_to_roll_back_to"

    told(tmp_path, story)


def test_a_deployment_that_never_came_to_run_ends_when_the_next_one_is_committed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        running = await world.deployed(1)
        await world.do(await world.release(2), await world.release(3))
        await world.do(await world.release(4))

        states = [await world.status(one) for one in (await world.target()).recent]

        assert (await world.target()).recent[0] == running.id
        assert states == ["running", "replaced", "replaced", "pending"]

    told(tmp_path, story)


def test_a_rollback_reads_the_deployments_of_no_other_service(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.deployed(2)
        await world.store.bus.commit(Write(Deployment.subject_of("another service's"), b"unreadable", 0, {}))

        await world.do(rollback())

        assert (await world.target()).image == image_of(1)

    told(tmp_path, story)


def test_only_the_newest_deployments_are_remembered_each_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first, second = await world.deployed(1), await world.deployed(2)
        assert (await world.target()).recent == (first.id, second.id)

        await world.do(rollback())

        target = await world.target()
        assert target.recent == (first.id, second.id, target.deployment)

    told(tmp_path, story)


def test_the_hint_of_its_own_move_needs_no_repository(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.do(await world.release(1))
        head = (await world.target()).config_commit
        world.committer = world.committer_of("git://127.0.0.1:1/config.git")
        (known,) = await world.do(ConfigMoved(id="own", commit=head, by="committer"))
        (other,) = await world.do(ConfigMoved(id="other", commit=sha_of(9)))
        assert known.error is None
        assert isinstance(other.error, Unavailable)

    told(tmp_path, story)


def secret(number: int) -> SecretChanged:
    place = {"project": "shop", "environment": "production", "service": "web", "actor": "ada"}
    return SecretChanged(id=f"c-secret-{number}", name="TOKEN", number=number, **place)


def test_a_release_whose_secret_is_forgotten_is_no_way_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.do(secret(1), await world.release(1, secrets=("TOKEN",)))
        await world.do(await world.release(2, secrets=("TOKEN",)), secret(2))
        await world.do(*[await world.release(number, secrets=("TOKEN",)) for number in range(3, 12)])
        await world.do(rollback("c-gone", to=1), rollback("c-there", to=3))

        said = await world.decision("c-gone")
        assert (said.outcome, said.reason) == ("refused", "secret_version_gone")
        assert "TOKEN v1" in said.message
        assert (await world.decision("c-there")).outcome == "accepted"

    told(tmp_path, story)
