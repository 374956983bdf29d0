"""Tokens that Enclii gave to programs, before a real git host."""

from __future__ import annotations

from pathlib import Path

from pipeline.principals import Grant, Principal, Role, Token
from pipeline.records import Project
from pipeline.store import Change, Step, now
from pipeline.token_text import digest, new_text
from tests.support.githost_room import Room, in_room


async def machine(room: Room, role: Role, *, project: str = "shop", environment: str = "", **more: str) -> str:
    """The text of a token with that scope."""
    number = f"{len(await room.store.all(Token)):012x}"
    text = new_text(number)
    who = Principal(name="token:ci", grants=(Grant(role=role, project=project, environment=environment),), listed=False)
    usual = {"created_at": now(), "expires_at": "2999-01-01T00:00:00Z"}
    token = Token(id=number, name="ci", digest=digest(text), who=who, by="ada", **{**usual, **more})
    await room.store.commit(Step((Change(token, 0),)))
    return text


def test_a_machines_token_pushes_and_fetches_what_its_scope_covers(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.commit(Dockerfile="FROM scratch\n")
        await room.push()
        await room.store.commit(Step((Change(Project(slug="shop"), 0),)))
        deployer, viewer = await machine(room, "deployer"), await machine(room, "viewer")

        await room.commit(Dockerfile="FROM scratch\n# again\n")
        assert (await room.push(token=deployer)).startswith("0 ")
        assert (await room.deliveries())[-1].actor == "token:ci"
        await room.git("ls-remote", room.remote(token=viewer))
        for token in (
            viewer, await machine(room, "deployer", project="other"),
            await machine(room, "deployer", environment="staging"),
        ):  # fmt: skip
            assert "may not push to shop/web" in await room.push(token=token)
        for token in (
            deployer[:-1] + "!", await machine(room, "deployer", revoked_at=now()),
            await machine(room, "deployer", expires_at="2020-01-01T00:00:00Z"),
            await machine(room, "deployer", origin="person:x:1"),
        ):  # fmt: skip
            assert "Authentication failed" in await room.push(token=token)
        admin = await machine(room, "admin", project="")
        assert "may not push" in await room.push(path="enclii/config.git", token=admin)

    in_room(tmp_path, scenario)
