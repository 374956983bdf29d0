"""Promotions over HTTP: who asks and who approves, what is listed, and what a rollback's plan warns of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from console.client import Client, Failure
from pipeline.events import CheckReported, FreezeRequested, PromotionRequested, PromotionReviewed, decode
from pipeline.names import token
from pipeline.promotions import Member, Promotion
from pipeline.records import Environment, Project, Release
from pipeline.servicefile import ReleaseJob, ServiceSpec
from tests.integration import console_records as data
from tests.integration.console_server import Console, with_console

MEMBERS = tuple(Member(service=name, release=f"shop.{name}.v2", image="i") for name in ("web", "api"))
WAITING = Promotion(
    id="p-1", command="c-1", project="shop", source="staging", environment="production", members=MEMBERS,
    status="waiting", reason="soaking", message="web v2, api v2 waits", actor="ada", created_at=data.deployment(
        1, data.IMAGE1, data.SHA1, "2026-03-03T10:00:00.000Z", "running").created_at,
)  # fmt: skip
STAGED = Project(slug="shop", environments=(
    Environment(name="production", branch=""), Environment(name="staging", branch="main")))  # fmt: skip


async def published(console: Console, kind: type[msgspec.Struct], command: str) -> object:
    entry = await console.store.bus.get(f"ev.{kind.type}.{token(command)}")  # type: ignore[attr-defined]
    assert entry is not None
    return decode(kind.type, entry.data)  # type: ignore[attr-defined]


def test_a_person_acts_by_a_token_of_their_own(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), STAGED, WAITING)
        people = tmp_path / "people"
        people.mkdir()
        (people / "bob").write_text("the-token-that-bob-has\n")
        (people / "eve").write_text("short")
        bob = Client(console.url, "the-token-that-bob-has")

        body = {"promotion": "p-1", "verdict": "approved"}
        answer = await asyncio.to_thread(lambda: bob.post("/v1/reviews", body))

        event = await published(console, PromotionReviewed, answer["command"])
        assert isinstance(event, PromotionReviewed)
        assert (event.actor, event.verdict) == ("bob", "approved")
        with pytest.raises(Failure) as refused:
            await asyncio.to_thread(Client(console.url, "short").get, "/v1/projects")
        assert refused.value.reason == "wrong_token"
        (people / "bob").unlink()
        with pytest.raises(Failure):
            await asyncio.to_thread(bob.get, "/v1/projects")

    with_console(tmp_path, story)


def test_a_promotion_is_asked_for_by_names_that_exist(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), STAGED)
        body = {"project": "shop", "environment": "production", "source": "staging", "services": ["web"]}

        answer = await console.post("/v1/promotions", body)

        event = await published(console, PromotionRequested, answer["command"])
        assert isinstance(event, PromotionRequested)
        assert (event.actor, event.source, event.services) == ("deployer", "staging", ("web",))
        for wrong in ({"services": []}, {"services": ["wbe"]}, {"source": "mars"}):
            with pytest.raises(Failure):
                await console.post("/v1/promotions", body | wrong)

    with_console(tmp_path, story)


def test_freezes_and_checks_are_events_too(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        freeze = await console.post("/v1/freezes", {"frozen": True, "why": "holidays"})
        check = {"project": "shop", "sha": "a" * 40, "name": "e2e", "state": "success"}
        report = await console.post("/v1/checks", check)

        frozen = await published(console, FreezeRequested, freeze["command"])
        reported = await published(console, CheckReported, report["command"])
        assert isinstance(frozen, FreezeRequested)
        assert isinstance(reported, CheckReported)
        assert (frozen.frozen, frozen.why, reported.state) == (True, "holidays", "success")
        with pytest.raises(Failure):
            await console.post("/v1/checks", check | {"state": "green"})
        with pytest.raises(Failure):
            await console.post("/v1/reviews", {"promotion": "p-none", "verdict": "approved"})

    with_console(tmp_path, story)


def test_promotions_are_listed_while_something_may_come_of_them_and_explained_for_ever(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        done = replace(WAITING, id="p-0", command="c-0", status="done")
        await console.put(*data.shop(), STAGED, WAITING, done)

        listed = await console.get("/v1/promotions", project="shop")
        every = await console.get("/v1/promotions", project="shop", all=True)
        told = await console.get("/v1/why/p-0")

        assert [one["id"] for one in listed["promotions"]] == ["p-1"]
        assert [member["version"] for member in listed["promotions"][0]["members"]] == ["v2", "v2"]
        assert {one["id"] for one in every["promotions"]} == {"p-0", "p-1"}
        assert [one["status"] for one in told["promotions"]] == ["done"]

    with_console(tmp_path, story)


def test_a_plan_warns_of_migrations_and_of_what_came_along(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        records = data.shop()
        await console.put(*records, STAGED, WAITING)
        before = await console.get("/v1/services/shop.web/rollback-plan", environment="production")
        newest = next(one for one in records if one.kind == "deployment" and one.key == (before["expected"],))
        release = next(one for one in records if isinstance(one, Release) and one.id == newest.release)  # type: ignore[attr-defined]
        spec = ServiceSpec(name="web", release=ReleaseJob(command=("migrate",)))
        await console.put(
            replace(release, spec=msgspec.Raw(msgspec.json.encode(spec))), replace(newest, set="p-1"),
        )  # fmt: skip

        plan = await console.get("/v1/services/shop.web/rollback-plan", environment="production")

        assert before["warnings"] == []
        assert plan["warnings"] == [
            f"{plan['from']} ran a release job: data migrations are not undone",
            "it came with api, which stay; to take all back: enclii rollback --set p-1",
        ]

    with_console(tmp_path, story)
