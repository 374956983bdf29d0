"""The committer beside people who write to the config repository too: reverts, edits, broken files, lost history."""

from __future__ import annotations

from pathlib import Path

from gitops.layout import Place
from pipeline.errors import Refused, Unavailable
from pipeline.events import (
    ConfigMoved,
    DestroyRequested,
)
from pipeline.records import Deployment, Project
from tests.support.committer_world import World, image_of, rollback, told


def test_a_hand_made_revert_is_a_rollback_that_holds(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        second = await world.deployed(2)
        revert = world.person().revert(second.config_commit)
        await world.moved()
        target = await world.target()
        assert (target.release, target.config_commit) == ("shop.web.v1", revert)
        assert (target.held, target.hold_from, target.hold_by) == (True, "shop.web.v2", "operator")
        assert "shop/production/web/hold.yaml" in world.files()
        assert await world.status(second.id) == "rolled_back"
        assert (await world.decision(f"{revert}/shop/production/web")).reason == "rolled_back_by_hand"

    told(tmp_path, story)


def test_a_revert_of_the_revert_is_a_resume(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        second = await world.deployed(2)
        person = world.person()
        revert = person.revert(second.config_commit)
        await world.moved()
        person.pull()
        person.revert(revert)
        await world.moved()
        target = await world.target()
        assert (target.image, target.held) == (image_of(2), False)
        assert "shop/production/web/hold.yaml" not in world.files()

    told(tmp_path, story)


def test_a_hold_that_is_deleted_by_hand_ends_and_what_waited_is_deployed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        await world.deployed(2)
        await world.do(rollback())
        await world.do(await world.release(3))
        person = world.person()
        person.git("rm", "-q", "shop/production/web/hold.yaml")
        person.push()
        await world.moved()
        target = await world.target()
        assert (target.release, target.held) == ("shop.web.v3", False)

    told(tmp_path, story)


def test_rules_that_are_edited_by_hand_are_in_force_and_decided(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        person = world.person()
        rules = person.clone / "shop/project.yaml"
        rules.write_text(rules.read_text().replace("branch: main", "branch: main\n    protected: true"))
        edit = person.push("Protect production")
        await world.moved()

        project = await world.store.get(Project, "shop")

        assert project is not None
        assert [one.protected for one in project.record.environments] == [True]
        assert (await world.decision(f"{edit}/shop")).reason == "edited_by_hand"

    told(tmp_path, story)


def test_a_revert_of_the_first_deployment_removes_the_service(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = await world.deployed(1)
        world.person().revert(first.config_commit)
        await world.moved()
        assert (await world.target()).deployment == ""
        assert await world.status(first.id) == "removed"

    told(tmp_path, story)


def test_a_destroy_deletes_the_directory(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = await world.deployed(1)
        await world.do(DestroyRequested(id="c-1", project="shop", environment="production", service="web"))
        assert world.files() == ["shop/project.yaml"]
        assert await world.status(first.id) == "removed"
        assert (await world.decision("c-1")).reason == "destroyed"

    told(tmp_path, story)


def test_an_edit_by_hand_is_a_deployment_of_no_known_release(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        person = world.person()
        path = "shop/production/web/deployment.yaml"
        person.write(path, world.file(path).replace(image_of(1), image_of(9)) + "\n")
        commit = person.push()
        await world.moved()
        target = await world.target()
        stored = await world.store.get(Deployment, target.deployment)
        assert stored is not None
        assert (target.image, target.release, target.config_commit) == (image_of(9), "", commit)
        assert (stored.record.via, stored.record.status) == ("git", "pending")

    told(tmp_path, story)


def test_a_directory_that_somebody_broke_fails_alone(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.do(await world.release(1), await world.release(1, "api"))
        person = world.person()
        person.write("shop/production/web/deployment.yaml", "{[")
        commit = person.push()
        await world.do(await world.release(2, "api"))
        assert (await world.target(Place("shop", "production", "api"))).release == "shop.api.v2"
        assert (await world.decision(f"{commit}/shop/production/web")).reason == "bad_yaml"

    told(tmp_path, story)


def test_broken_files_in_somebody_elses_project_stop_nothing_of_the_others(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        person = world.person()
        for path in ("other/project.yaml", "other/production/db/deployment.yaml", "apps/base/values.yaml"):
            person.write(path, "{[")
        commit = person.push()
        await world.do(await world.release(2))
        assert (await world.target()).release == "shop.web.v2"
        assert (await world.decision(f"{commit}/other")).reason == "bad_project_file"

    told(tmp_path, story)


def test_a_branch_rewritten_by_hand_is_followed_and_recorded(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = await world.deployed(1)
        await world.deployed(2)
        person = world.person()
        person.git("reset", "-q", "--hard", first.config_commit)
        person.push(force=True)
        await world.moved()
        target = await world.target()
        assert (target.image, target.held) == (image_of(1), True)
        assert (await world.decision(f"{first.config_commit}/rewritten")).reason == "config_rewritten"
        await world.do(await world.release(3))
        assert (await world.target()).held_release == "shop.web.v3"

    told(tmp_path, story)


def test_what_may_not_go_out_ends_in_a_decision(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        event = await world.release(1)
        world.refuse[event.release] = Refused("no signature", reason="no_signature")
        await world.do(event)
        assert (await world.decision("shop.web.v1/production")).reason == "no_signature"
        assert len(world.log()) == 1

    told(tmp_path, story)


def test_a_gate_that_cannot_answer_leaves_its_event_and_no_other(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        events = [await world.release(1), await world.release(1, "api")]
        world.refuse["shop.web.v1"] = Unavailable("no registry", reason="registry_away")
        first, second = await world.do(*events)
        assert isinstance(first.error, Unavailable)
        assert second.error is None
        assert [line for line in world.log() if "api" in line]

    told(tmp_path, story)


def test_a_merge_by_hand_that_puts_enclii_aside_loses_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = world.person()
        await world.committer.handle([await world.release(1)])
        person.write("README", "words")
        person.git("add", "-A")
        person.git("commit", "-q", "-m", "words")
        person.git("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
        person.push()
        world.committer = world.new_committer()
        await world.do(await world.release(1))
        assert (await world.target()).release == "shop.web.v1"
        assert len([subject for subject in world.log() if subject.startswith("Deploy")]) == 1

    told(tmp_path, story)


def test_a_project_file_that_is_deleted_by_hand_feeds_nothing_more(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        person = world.person()
        person.git("rm", "-q", "shop/project.yaml")
        person.push()
        await world.do(await world.release(1))
        project = await world.store.get(Project, "shop")
        assert project is not None
        assert (project.record.environments, project.record.repositories) == ((), ())
        assert (await world.decision("shop.web.v1")).reason == "no_environment"

    told(tmp_path, story)


def test_a_death_after_a_hand_made_revert_was_held_adds_no_second_hold(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.deployed(1)
        second = await world.deployed(2)
        world.person().revert(second.config_commit)
        await world.committer.handle([ConfigMoved(id="hint", commit="")])
        before = world.log("%H")
        world.committer = world.new_committer()
        await world.moved()
        assert world.log("%H") == before
        target = await world.target()
        assert (target.release, target.held) == ("shop.web.v1", True)

    told(tmp_path, story)
