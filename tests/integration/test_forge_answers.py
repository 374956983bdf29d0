"""What forges are told of runs, deployments and previews: each thing once, whatever dies or fails meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from msgspec.structs import replace

from console import forge_health
from console.projection import Projection
from gitops.forge.forges import Forges
from gitops.forge.github import GitHub as Client
from gitops.forge.safety import SafetyNet
from pipeline.answers import Answer
from pipeline.events import PullRequestChanged
from pipeline.main import in_background
from pipeline.previews import Preview, PreviewService
from pipeline.records import Decision, Deployment, Job, Live, Release, Run
from pipeline.store import now
from tests.support.forge_room import CONSOLE, HEAD, ORIGIN, Room, in_room
from tests.support.github import APP, rsa_key

RUN = Run(
    id="r-1", project="shop", repository="github:shop/shop", ref="refs/heads/main", sha=HEAD, actor="will",
    subject_line="A page", delivery="d", created_at="2026-11-23T12:00:00Z", services=("web", "api"),
)  # fmt: skip
WEB = Job(run="r-1", project="shop", service="web", status="building")
PREVIEW = Preview(
    id="shop.preview-2", project="shop", repository=ORIGIN, number=2, environment="preview-2", state="building",
    sha=HEAD, run="r-1", services=(PreviewService(name="web"),), created_at="2026-11-23T12:00:00Z",
)  # fmt: skip


def test_each_service_of_a_run_is_a_check_that_follows_it(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.write(RUN, WEB, replace(WEB, service="api", status="failed", message="no such file: @app"))
        async with room.process():
            await room.until(lambda: len(room.github.statuses) == 2)
            states = {one["context"]: one for one in room.github.statuses}
            assert states["enclii/web"]["state"] == "pending"
            assert states["enclii/api"]["state"] == "failure"
            assert states["enclii/api"]["target_url"] == f"{CONSOLE}/why?about=r-1"
            assert "@app" not in states["enclii/api"]["description"]
            await room.write(replace(WEB, status="deployed", release="shop.web.v3"))
            await room.until(lambda: len(room.github.statuses) == 3)
            assert room.github.statuses[2]["description"] == "web is released as v3"
            await remembered(room, f"check/{HEAD}/enclii/web", str(room.github.statuses[2]["id"]))
        before = len(room.github.requests)
        async with room.process():  # a restart says nothing again
            await room.write(replace(WEB, service="api", status="superseded"))
            await room.until(lambda: len(room.github.statuses) == 4)
            assert len(room.github.requests) == before + 1

    in_room(tmp_path, scenario)


def test_rule_16_a_pull_request_has_one_comment_through_all_its_states(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        room.github.fail("POST .*/issues/2/comments", 502, heard=True)  # said, and never answered
        await room.write(PREVIEW)
        async with room.process():
            await room.until(lambda: room.github.said("PATCH", "/issues/comments/"), limit=60.0)
            await room.write(replace(PREVIEW, state="asleep"))
            await room.until(lambda: "sleeps" in room.github.ours(2)[0])
            await room.until(lambda: last(room) == ["success"])
            await remembered(room, f"environment/{PREVIEW.id}/{HEAD}", str(next(iter(room.github.deployments))))
        async with room.process():
            running = PreviewService(name="web", status="running", address="http://pr-2-web.test")
            await room.write(replace(PREVIEW, state="ready", services=(running,)))
            await room.until(lambda: "http://pr-2-web.test" in room.github.ours(2)[0])
            await room.write(replace(PREVIEW, state="removed"))
            await room.until(lambda: "is gone" in room.github.ours(2)[0])
            await room.until(lambda: last(room) == ["inactive"])
            assert len(room.github.ours(2)) == 1
            assert environments(room)[0]["environment"] == "preview/pr-2"

    in_room(tmp_path, scenario)


def environments(room: Room) -> list[dict[str, list[dict[str, str]]]]:
    return list(room.github.deployments.values())


async def remembered(room: Room, about: str, remote: str) -> None:
    """Wait until what was told is a record: a process that ends before may tell it again."""
    assert await room.store.first(Answer, ORIGIN, about, such=lambda one: one.remote == remote, limit=60.0)


def last(room: Room) -> list[str]:
    """The newest status of each environment that has one."""
    return [one["statuses"][-1]["state"] for one in environments(room) if one["statuses"]]


def test_many_changes_are_one_edit(tmp_path: Path) -> None:
    """Rule 16: at most one edit in ten seconds."""

    async def scenario(room: Room) -> None:
        async with room.process(pause=1.5):
            for number in range(40):
                await room.write(replace(PREVIEW, message=f"step {number}"))
            await room.until(lambda: room.github.ours(2) and "step 39" in room.github.ours(2)[0])
            assert room.github.said("POST", "/issues/2/comments") + room.github.said("PATCH", "/issues/comments") <= 2

    in_room(tmp_path, scenario)


def test_a_deployment_is_shown_with_its_address_and_what_may_not_be_told_is_kept(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        release = Release(
            id="shop.web.v3", project="shop", service="web", number=3, image="i", sha=HEAD, ref="refs/heads/main",
            repository="github:shop/shop", source_url="u", actor="will", subject_line="s", run="r-1", spec=b"{}",  # type: ignore[arg-type]
        )  # fmt: skip
        deployment = Deployment(
            id="d-1", project="shop", environment="production", service="web", release=release.id, image="i",
            status="running", config_commit="c", sha=HEAD, created_at=now(),
        )  # fmt: skip
        live = Live(
            project="shop", environment="production", service="web", deployment="d-1", release=release.id, image="i",
            status="running", health="healthy", ready=1, desired=1, address="http://web.shop.test",
        )  # fmt: skip
        room.github.fail("POST .*/statuses/", 403, message="Resource not accessible")
        await room.write(release, live, deployment, RUN, WEB)
        async with room.process():
            await room.until(lambda: any(one["statuses"] for one in environments(room)))
            [shown] = environments(room)
            assert (shown["environment"], shown["production_environment"]) == ("production/web", True)
            assert shown["statuses"][0]["environment_url"] == "http://web.shop.test"
            told = await room.store.first(
                Answer, ORIGIN, f"check/{HEAD}/enclii/web", such=lambda one: bool(one.problem), limit=60.0
            )
            assert told is not None
            assert told.problem == "forge_forbidden"

    in_room(tmp_path, scenario)


def test_what_no_webhook_told_is_found_and_told_once(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        room.github.pull(2, "c" * 40)
        room.github.pull(3, HEAD, fork=True)
        net = SafetyNet(room.store, Forges(room.store, room.folder, {"github": Client}))
        missed = await net.look()
        assert [one.split(":")[3] for one in missed] == ["main", "2", "3"]
        before = len(room.github.requests)
        assert await net.look() == []
        assert len(room.github.requests) == before + 2
        changed = await room.events(PullRequestChanged)
        assert sorted((one["number"], one["action"]) for one in changed) == [(2, "read"), (3, "read")]
        del room.github.pulls[2]
        [missed_end] = await net.look()
        assert ":2:closed:" in missed_end

    in_room(tmp_path, scenario)


def test_a_failed_delivery_is_asked_for_again_once_and_what_an_app_lacks_is_kept(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        [file] = room.folder.iterdir()
        app = {"id": APP["id"], "slug": APP["slug"], "key": rsa_key()}
        file.write_text(json.dumps({"forge": "github", "api": room.github.url, "app": app}))
        at = now()
        room.github.fail("POST .*/deliveries/3/attempts", 422, message="Deliveries cannot be redelivered")
        for number, (guid, status) in enumerate((("a", 502), ("b", 502), ("b", 202), ("c", 502))):
            room.github.deliveries.append({"id": number, "guid": guid, "status_code": status, "delivered_at": at})
        del room.github.permissions["checks"]
        for _ in range(2):
            await SafetyNet(room.store, Forges(room.store, room.folder, {"github": Client})).look()
        assert room.github.redelivered == [0]
        health = await room.store.get(Answer, "github", "health")
        assert health is not None
        assert health.record.problem == "permission checks: write, event deployment"
        for identity, at in (("github:shop:one", "2026-11-23T12:00:00Z"), ("poll:shop:later", "2026-11-23T12:01:00Z")):
            told = Decision(id=identity, about="delivery", outcome="accepted", reason="push", message="", at=at)
            await room.write(told)
        projection = Projection(tmp_path / "projection.sqlite")
        async with in_background(projection.follow(room.store.bus)):
            await room.until(lambda: len(projection.find(Decision)) == 2)
            lines = {one.subject: one for one in await forge_health.checks(projection, room.store)}
        projection.close()
        assert lines["webhooks"].message == "the last one came at 2026-11-23T12:00:00Z: accepted"
        assert (lines["GitHub App"].level, "checks: write" in lines["GitHub App"].message) == ("warning", True)
        assert "poll:" in lines["missed webhooks"].message

    in_room(tmp_path, scenario)
