"""Commands in comments: who may, who may not, and that each ends in one decision and one refusal at most."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.events import (
    CheckAsked,
    DeployRequested,
    HoldRequested,
    LinkRequested,
    PreviewRequested,
    PullRequestChanged,
    RepositoryMoved,
    RollbackRequested,
)
from pipeline.previews import Preview, PreviewRef, PullRequest
from pipeline.records import Decision, Run, Target
from pipeline.said import CheckSaid
from pipeline.store import now
from tests.support.forge_room import HEAD, ORIGIN, Room, in_room


def reactions(room: Room, comment: str) -> list[str]:
    return [content for found, content in room.github.reactions if found == comment]


def test_a_command_is_seen_decided_and_answered_by_its_end(tmp_path: Path) -> None:
    """Rules 6, 15, 24: the level is asked, 👀 comes first, and the comment's id is the command's."""

    async def scenario(room: Room) -> None:
        async with room.process():
            up = await room.comment("/preview up web")
            assert await room.said(up) == ("accepted", "preview_up")
            assert reactions(room, up.comment) == ["eyes"]
            [asked] = await room.events(PreviewRequested)
            assert (asked["actor"], asked["role"], asked["sha"]) == ("will", "write", HEAD)
            ready = Preview(
                id="shop.preview-2", project="shop", repository=ORIGIN, number=2, state="ready", sha=HEAD,
                active_at=now(),
            )  # fmt: skip
            await room.write(ready)
            await room.until(lambda: reactions(room, up.comment) == ["eyes", "rocket"])

            await room.store.publish(replace(up, at=now()))  # the same comment by another hook
            hold = await room.comment('/hold staging "a look first"')
            assert await room.said(hold) == ("accepted", "hold")
            [asked] = await room.events(HoldRequested)
            assert (asked["environment"], asked["why"]) == ("staging", "a look first")
            refused = Decision(id=asked["id"], about="command", outcome="refused", reason="held", message="held")
            await room.write(refused)
            await room.until(lambda: reactions(room, hold.comment) == ["eyes", "-1"])
            assert len(await room.events(PreviewRequested)) == 1

    in_room(tmp_path, scenario)


def test_who_may_not_is_told_once_and_a_stranger_not_at_all(tmp_path: Path) -> None:
    """Rules 5, 6, 23: by level, environment and verb; production's verbs are off unless switched on."""

    async def scenario(room: Room) -> None:
        async with room.process():
            first = await room.comment("/rollback staging")
            assert await room.said(first) == ("refused", "missing_right")
            again = await room.comment("/rollback staging")
            assert await room.said(again) == ("refused", "missing_right")
            assert room.github.ours(2) == [
                f"<!-- enclii:re={first.comment} -->\n@will: this needs maintain; you have write\n"
            ]
            cases = [
                ("/rollback production", "ada", "switched_off"),
                ("/preview", "stranger", "missing_right"),
                ("/preview up nothing", "mia", "unknown_service"),
                ("/rollback nowhere", "mia", "unknown_environment"),
                ("/preview frobnicate", "mia", "unknown_verb"),
                ("/preview approve 3f2a9c1", "mia", "short_sha"),
                (f"/preview approve {'c' * 40}", "mia", "ref_changed"),
                ("/preview up ; rm -rf / $(id)", "mia", "bad_argument"),
                ("/prev\u0456ew", "mia", "look_alike"),
            ]
            for body, author, reason in cases:
                event = await room.comment(body, author)
                assert await room.said(event) == ("refused", reason), body
                assert reactions(room, event.comment) == ["eyes", "-1"]
            assert await room.events(PreviewRequested) == []
            assert len(room.github.ours(2)) == 3  # will, ada and mia, once each

            rollback = await room.comment("/rollback staging --to v3", "mia")
            assert await room.said(rollback) == ("refused", "which_service")
            target = Target(
                project="shop", environment="staging", service="web", deployment="d-1", release="shop.web.v4",
                image="i", sha=HEAD, config_commit="c",
            )  # fmt: skip
            await room.write(target)
            rollback = await room.comment("/rollback staging --to v3", "mia")
            assert await room.said(rollback) == ("accepted", "rollback")
            [asked] = await room.events(RollbackRequested)
            assert (asked["to"], asked["service"], asked["environment"]) == (3, "web", "staging")

    in_room(tmp_path, scenario)


def test_rule_10_a_head_that_came_with_the_command_is_looked_at_first(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        async with room.process():
            pushed = "d" * 40
            room.github.pull(2, pushed)
            event = await room.comment("/preview")
            assert await room.said(event) == ("refused", "head_not_known")
            [read] = await room.events(PullRequestChanged)  # by the forge's clock: it may be younger than the comment
            assert read["updated_at"] == room.github.pulls[2]["updated_at"]
            late = PullRequest(
                repository=ORIGIN, number=2, state="open", head=pushed, fork=False, head_at=event.created_at
            )
            await room.write(late)
            assert await room.said(await room.comment("/preview")) == ("refused", "head_not_known")
            await room.write(replace(late, head_at="2026-11-23 12:29:59 UTC"))
            assert await room.said(await room.comment("/preview")) == ("accepted", "preview_up")
            room.github.pull(2, pushed, state="closed")
            assert await room.said(await room.comment("/preview restart")) == ("refused", "pull_request_closed")
            assert await room.said(await room.comment("/preview down")) == ("accepted", "preview_down")
            room.github.pull(2, pushed, fork=True)
            approved = await room.comment(f"/preview approve {pushed}", "mia")
            assert await room.said(approved) == ("accepted", "preview_approve")
            assert await room.said(await room.comment(f"/preview approve {pushed}")) == ("refused", "missing_right")

    in_room(tmp_path, scenario)


def test_two_hundred_comments_in_a_minute_end_in_decisions_and_few_questions(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        async with room.process():
            events = [await room.comment("/preview status") for _ in range(200)]
            found = [await room.said(event) for event in events]
            assert found.count(("accepted", "told_preview")) == 10
            assert found.count(("refused", "too_many_commands")) == 190
            assert len(room.github.ours(2)) == 10
            assert room.github.said("GET", "/collaborators/") == 10

    in_room(tmp_path, scenario)


SILENT = 0
LIMITED = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9999999999"}


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (401, {}, "forge_unauthorised"),
        (403, {}, "forge_forbidden"),
        (403, LIMITED, "forge_limited"),
        (429, {"retry-after": "7"}, "forge_limited"),
        (404, {}, "missing_right"),
        (502, {}, "forge_away"),
        (SILENT, {}, "forge_away"),
    ],
    ids=["401", "403", "403-rate-limit", "429", "404", "5xx", "nothing"],
)
def test_who_cannot_be_asked_about_may_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], reason: str
) -> None:
    """GitHub's bad answers, and none for longer than it is waited for: one decision, 👎, and not a word."""
    if status == SILENT:
        monkeypatch.setattr("gitops.forge.github_door.TIMEOUT", 1)

    async def scenario(room: Room) -> None:
        hang = 2.0 if status == SILENT else 0.0
        room.github.fail("GET .*/permission", status or 200, times=99, headers=headers, message="no", hang=hang)
        async with room.process():
            event = await room.comment("/preview", "ada", at="2026-11-23T00:00:00.000Z")
            assert await room.said(event) == ("refused", reason)
            assert await room.events(PreviewRequested) == []
            assert room.github.ours(2) == []

    in_room(tmp_path, scenario)


def test_a_forge_that_is_back_in_time_is_asked_again(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        room.github.fail("GET .*/permission", 502, times=2)
        room.github.fail("POST .*/reactions", 403, times=99)
        async with room.process():
            assert await room.said(await room.comment("/preview")) == ("accepted", "preview_up")

    in_room(tmp_path, scenario)


def test_run_again_is_a_run_of_the_repository_whose_check_it_is(tmp_path: Path) -> None:
    """The same commit may be in two repositories, and somebody may write in one of them alone."""

    async def scenario(room: Room) -> None:
        def run(repository: str, **more: Any) -> Run:
            return Run(
                id=f"r-{repository}", project="shop", repository=repository, ref="refs/heads/main", sha=HEAD,
                actor="will", subject_line="s", delivery="d", created_at=now(), services=("web",), **more,
            )  # fmt: skip

        async def pressed(identity: str) -> Decision:
            said = CheckSaid(sha=HEAD, name="enclii/web", numbers=(2,))
            await room.store.publish(
                CheckAsked(id=identity, at=now(), forge="github", repository=ORIGIN, check=said, actor="will")
            )
            return await room.decision(f"{identity}/done")

        await room.write(run("github:another/shop"))
        async with room.process():
            assert (await pressed("one")).reason == "unknown_run"
            await room.write(run("github:shop/shop"))
            assert (await pressed("two")).reason == "again"
            [asked] = await room.events(DeployRequested)
            assert (asked["repository"], asked["service"]) == ("github:shop/shop", "web")
            await room.write(run("github:shop/shop", preview=PreviewRef(environment="preview-2", number=2)))
            assert (await pressed("three")).outcome == "accepted"
            [restart] = await room.events(PreviewRequested)
            assert (restart["verb"], restart["number"]) == ("restart", 2)

    in_room(tmp_path, scenario)


def test_buttons_need_the_same_rights_and_a_new_name_keeps_the_number(tmp_path: Path) -> None:
    """Rule 18, and identity by number."""

    async def scenario(room: Room) -> None:
        def button(name: str, actor: str, sha: str = HEAD, action: str = "approve") -> CheckAsked:
            said = CheckSaid(sha=sha, name=name, action=action)  # of a fork GitHub names no pull request
            return CheckAsked(id=f"{actor}/{sha}", at=now(), forge="github", repository=ORIGIN, check=said, actor=actor)

        async with room.process():
            cases = [("will", HEAD, "missing_right"), ("mia", "c" * 40, "ref_changed"), ("mia", HEAD, "approved")]
            for actor, sha, reason in cases:
                pressed = button("enclii/preview", actor, sha)
                await room.store.publish(pressed)
                assert (await room.decision(f"{pressed.id}/done")).reason == reason
            [asked] = await room.events(PreviewRequested)
            assert (asked["verb"], asked["sha"], asked["role"]) == ("approve", HEAD, "maintain")

            room.github.name = "new/shop"
            moved = RepositoryMoved(id="m", at=now(), forge="github", repository=ORIGIN, name="x/y", actor="ada")
            await room.store.publish(moved)
            assert (await room.decision("m/done")).reason == "repository_moved"
            [link] = await room.events(LinkRequested)
            assert (link["repository"], link["url"]) == ("github:shop/shop", "https://github.com/new/shop.git")
            await asyncio.sleep(0)

    in_room(tmp_path, scenario)
