"""The git host with a real git, a real nats-server and a real uvicorn."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pipeline import near_fetch
from pipeline.errors import Refused
from pipeline.events import ConfigMoved, LinkRequested
from pipeline.mirror import Mirror
from pipeline.names import run_id
from pipeline.records import Environment, Project, Push
from pipeline.store import Change, Step
from tests.support.components import needs
from tests.support.githost_room import LIMIT, SHOP, TOKENS, Room, in_room, opened
from tests.support.nats import running_nats, running_server


def test_a_push_is_stored_as_a_delivery_and_its_run_is_shown(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        head = await room.commit(Dockerfile="FROM scratch\n")
        said = await room.push(user="alex")
        [delivery] = await room.deliveries()
        assert (delivery.after, delivery.ref, delivery.actor) == (head, "refs/heads/main", "alex")
        assert f"remote: enclii: main is at {head[:12]}: run {run_id(delivery.id)}" in said
        assert f"http://console.test/runs/{run_id(delivery.id)}" in said

    in_room(tmp_path, scenario)


def test_a_branch_that_feeds_nothing_is_told_so_and_no_run_is_promised(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        shop = Project(slug="shop", environments=(Environment(name="production", branch="main"),))
        await room.store.commit(Step((Change(shop, None),)))
        await room.commit(Dockerfile="FROM scratch\n")
        pushed = await room.git("push", room.remote(), "main", "main:topic")
        said = pushed.stderr.decode()
        assert "enclii: main is at" in said
        assert "; no environment of shop is fed by it, and nothing is deployed" in said
        assert "enclii preview up -p shop topic" in said
        assert said.count("/runs/r-") == 1

    in_room(tmp_path, scenario)


def test_the_first_push_creates_the_repository_and_asks_for_its_registration_once(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        await room.push()
        await room.commit(Dockerfile="FROM busybox\n")
        await room.push()
        [link] = await room.events(LinkRequested)
        assert isinstance(link, LinkRequested)
        assert (link.repository, link.branches) == ("local:shop/web", {"production": "main"})
        assert link.url == "http://git.test/shop/web.git"

    in_room(tmp_path, scenario)


def test_an_invalid_service_file_is_refused_with_its_line_before_it_lands(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(enclii_yaml="services:\n  web:\n    prot: 8080\n")
        said = await room.push()
        assert said.startswith("1 ")
        assert "remote: enclii:   enclii.yaml:3: " in said
        assert await room.host.repositories.refs(SHOP) == {}
        assert await room.deliveries() == []
        await room.commit(enclii_yaml="services:\n  web:\n    port: 8080\n")
        assert (await room.push()).startswith("0 ")

    in_room(tmp_path, scenario)


def test_of_two_pushes_at_once_to_one_branch_exactly_one_wins(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        await room.push()
        commits = []
        for number in range(4):
            await room.git("checkout", "-q", "-B", f"b{number}", "main")
            commits.append(await room.commit(**{f"f{number}": "x"}))
        said = await asyncio.gather(*(room.push(f"b{number}:main") for number in range(4)))
        winners = [commits[number] for number, text in enumerate(said) if text.startswith("0 ")]
        assert len(winners) == 1
        assert (await room.host.repositories.refs(SHOP))["refs/heads/main"] == winners[0]
        assert [d.after for d in await room.deliveries()][1:] == winners
        stored = await room.store.get(Push, SHOP.id, "refs/heads/main")
        assert stored is not None
        assert stored.record.after == winners[0]

    in_room(tmp_path, scenario)


def test_without_the_event_store_a_push_is_refused_cleanly_and_accepted_later(tmp_path: Path) -> None:
    needs("git")

    async def scenario(nats: str) -> None:
        async with opened(tmp_path, nats) as room:
            await room.commit(Dockerfile="FROM scratch\n")
            server.kill()
            server.wait()
            said = await room.push()
            assert said.startswith("1 ")
            assert "remote: enclii: the event store is away; nothing was accepted" in said
            assert await room.host.repositories.refs(SHOP) == {}
            with running_nats(tmp_path / "nats", port=int(nats.rsplit(":", 1)[1])):
                async with asyncio.timeout(LIMIT):
                    while not (await room.push()).startswith("0 "):
                        pass  # a push takes its time; the bus reconnects meanwhile
                assert len(await room.deliveries()) == 1
                await room.store.bus.close()

    with running_server(tmp_path / "nats") as (url, server):
        asyncio.run(scenario(url))


def test_a_push_whose_hook_never_ran_is_announced_once_by_the_safety_net(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        head = await room.commit(Dockerfile="FROM scratch\n")
        await room.git("push", "-q", str(await _bare(room)), "main")
        intent = Push(
            repository=SHOP.id,
            ref="refs/heads/main",
            before="0" * 40,
            after=head,
            actor="deployer",
            delivery="local:intent",
            at="",
        )
        await room.store.bus.append(intent.subject, intent.encode())
        assert await room.host.sweeper.sweep() == ["local:intent"]
        assert await room.host.sweeper.sweep() == []
        assert [d.id for d in await room.deliveries()] == ["local:intent"]
        assert len(await room.events(LinkRequested)) == 1

    in_room(tmp_path, scenario)


def test_a_head_that_no_intent_explains_is_announced_once(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        head = await room.commit(Dockerfile="FROM scratch\n")
        await room.git("push", "-q", str(await _bare(room)), "main")
        assert await room.host.sweeper.sweep() == [f"sweep:{SHOP.id}:refs/heads/main:{head}"]
        assert await room.host.sweeper.sweep() == []

    in_room(tmp_path, scenario)


def test_hooks_inside_a_repository_do_not_run(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        hooks = await _bare(room) / "hooks"
        hooks.mkdir()
        for name in ("pre-receive", "update", "post-receive", "reference-transaction"):
            (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
            (hooks / name).chmod(0o755)
        await room.commit(Dockerfile="FROM scratch\n")
        assert (await room.push()).startswith("0 ")
        assert not (tmp_path / "ran").exists()

    in_room(tmp_path, scenario)


def test_a_reader_may_fetch_and_not_push(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        await room.push()
        said = await room.push(token=TOKENS.read)
        assert "remote: enclii: this token may not push to shop/web" in said
        await room.git("ls-remote", room.remote(token=TOKENS.read))
        await room.git("clone", "-q", "--filter=blob:none", room.remote(token=TOKENS.read), str(tmp_path / "clone"))

    in_room(tmp_path, scenario)


def test_one_commit_can_be_fetched_alone(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        first = await room.commit(Dockerfile="FROM scratch\n")
        await room.commit(Dockerfile="FROM busybox\n")
        await room.push()
        await room.git("init", "-q", "--bare", str(tmp_path / "one"))
        await room.git("fetch", "-q", "--depth=1", room.remote(token=TOKENS.read), first, cwd=tmp_path / "one")

    in_room(tmp_path, scenario)


def test_a_mirror_brings_each_small_step_itself_and_keeps_few_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_fetch, "MANY", 3)

    async def scenario(room: Room) -> None:
        path = tmp_path / "mirror.git"
        mirror = Mirror(path, f"{room.url}/shop/web.git", token=TOKENS.read, near=True)
        packs = []
        for number in range(6):
            head = await room.commit(page=str(number))
            await room.push()
            brought = mirror.fetch_head("refs/heads/main") if number % 2 else mirror.fetch_commit(head)
            assert (await brought, mirror.read(head, "page")) == (head, str(number).encode())
            packs.append(near_fetch.packs(path))
            told = path / "FETCH_HEAD"  # the git program is told to write none
            assert (head in told.read_text()) if number else not told.exists()
        assert max(packs) <= 3

    in_room(tmp_path, scenario)


def test_a_mirror_leaves_to_git_what_it_cannot_bring_itself(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        first = await room.commit(page="1")
        await room.push()
        mirror = Mirror(tmp_path / "mirror.git", f"{room.url}/shop/web.git", token=TOKENS.read, near=True)
        await mirror.fetch_commit(first)
        passed, head = await room.commit(page="2"), await room.commit(page="3")
        await room.push()
        assert await mirror.fetch_commit(passed) == passed  # no branch is there any more
        assert await mirror.fetch_head("refs/heads/gone") is None
        mirror.open_with(token="wrong", ssh_key=None)
        with pytest.raises(Refused, match="enclii link --credential"):
            await mirror.fetch_commit(head)

    in_room(tmp_path, scenario)


def test_a_wrong_token_and_an_unknown_repository_are_refused(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        assert "Authentication failed" in await room.push(token="wrong")
        assert not room.host.repositories.exists(SHOP)
        missing = await room.git("ls-remote", room.remote("shop/none.git"), check=False)
        assert b"not found" in missing.stderr

    in_room(tmp_path, scenario)


def test_a_large_push_arrives_whole(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        (room.work / "large").write_bytes(os.urandom(30 << 20))
        head = await room.commit()
        assert (await room.push()).startswith("0 ")
        assert (await room.host.repositories.refs(SHOP))["refs/heads/main"] == head

    in_room(tmp_path, scenario)


def test_a_push_beyond_the_limit_is_refused_with_git_s_own_words(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        (room.work / "large").write_bytes(os.urandom(5 << 20))
        await room.commit()
        assert "pack exceeds maximum allowed size" in await room.push()
        assert await room.host.repositories.refs(SHOP) == {}

    in_room(tmp_path, scenario, max_push=1 << 20)


def test_tags_and_deleted_branches_pass_and_are_recorded(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        await room.git("tag", "v1")
        await room.push("main", "v1", "main:topic")
        said = await room.push(":topic")
        assert "topic is deleted; nothing is built for it" in said
        assert [(d.ref, set(d.after) == {"0"}) for d in await room.deliveries()][-1] == ("refs/heads/topic", True)

    in_room(tmp_path, scenario)


def test_the_configuration_takes_the_committer_s_and_a_deployer_s_push(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        for token, by in ((TOKENS.config, "committer"), (TOKENS.deploy, "git")):
            head = await room.commit(**{by: "x"})
            assert (await room.push(path="enclii/config.git", token=token)).startswith("0 ")
            assert await announced(room, head) == by
        assert "may not push to shop/web" in await room.push(token=TOKENS.config)

    in_room(tmp_path, scenario)


async def announced(room: Room, head: str) -> str:
    """Who moved the config branch to ``head``; the committer's move is told after its push was answered."""
    async with asyncio.timeout(60):
        while True:
            for moved in await room.events(ConfigMoved):
                if isinstance(moved, ConfigMoved) and moved.commit == head:
                    return moved.by
            await asyncio.sleep(0.02)


async def _bare(room: Room) -> Path:
    await room.host.repositories.create(SHOP)
    return room.host.repositories.path(SHOP)
