"""The audit before a real event store: what is asked, refused and decided, and that nothing of it can be deleted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from console.audit import Audit, Entry
from pipeline.bus import Bus, Write
from pipeline.errors import Unavailable
from pipeline.records import Decision
from tests.integration import console_records as data
from tests.integration.browser import logged_in
from tests.integration.console_server import Console, with_console
from tests.integration.test_bus import with_bus
from tests.integration.test_tokens import HOLD, reply


async def entries(console: Console, count: int, **query: str) -> list[dict[str, Any]]:
    """The audit, once it has that many entries."""
    while len(found := (await console.get("/v1/audit", **query))["audit"]) < count:  # noqa: ASYNC110 - as a person would ask
        await asyncio.sleep(0.02)
    return list(found)


def test_what_is_asked_and_decided_is_told_with_way_and_role(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        ci = (await console.post("/v1/tokens", {"name": "ci", "role": "viewer", "project": "shop"}))["token"]
        command = (await console.post("/v1/holds", HOLD))["command"]
        browser = await logged_in(console)
        await browser.submit("/services/shop/production/web", "/act/restart", why="tired")
        assert (await reply(console, ci, "/v1/holds", HOLD))[0] == 403
        await console.put(
            Decision(id=command, about="command", outcome="accepted", reason="held", message="held", actor="deployer",
                     project="shop", environment="production", service="web", at="2026-03-03T10:00:00Z"),
            Decision(id="del-9", about="delivery", outcome="accepted", reason="planned", message="", actor="ada",
                     project="shop", ref="refs/heads/main", sha="1" * 40, at="2026-03-03T10:00:01Z"),
        )  # fmt: skip

        found = await entries(console, 7)

        shown = {(one["who"], one["way"], one["role"], one["what"], one["result"], one["reason"]) for one in found}
        assert shown == {
            ("deployer", "CLI", "admin", "token", "accepted", ""),
            ("deployer", "CLI", "admin", "hold", "accepted", ""),
            ("deployer", "page", "", "login", "accepted", "one_time_address"),
            ("deployer", "page", "admin", "restart", "accepted", ""),
            ("token:ci", "API", "viewer", "hold", "refused", "role_missing"),
            ("deployer", "CLI", "admin", "hold", "accepted", "held"),
            ("ada", "push", "", "delivery", "accepted", "planned"),
        }
        decided = next(one for one in found if one["reason"] == "held")
        asked = next(one for one in found if one["id"] == command and not one["reason"])
        assert decided["trace"] == asked["trace"] != ""
        event = await console.store.bus.scan("ev.hold.requested.>")
        assert json.loads(event[0].data)["trace"] == asked["trace"]
        page = await browser.get("/audit?who=ada")
        assert ("planned" in page.text, "restart" in page.text) == (True, False)

    with_console(tmp_path, story)


def test_the_audit_is_paged_filtered_and_limited_to_what_one_sees(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        other = (await console.post("/v1/tokens", {"name": "o", "role": "viewer", "project": "other"}))["token"]
        for _ in range(3):
            await console.post("/v1/holds", HOLD)
        found = await entries(console, 4)
        first = await console.get("/v1/audit", limit=3)
        rest = await console.get("/v1/audit", limit=3, cursor=first["next"])
        assert [one["id"] for one in (*first["audit"], *rest["audit"])] == [one["id"] for one in found]
        assert rest["next"] == ""
        assert len(await entries(console, 3, what="hold")) == 3
        assert (await reply(console, other, "/v1/audit"))[1]["audit"] == []

    with_console(tmp_path, story)


def test_who_is_refused_does_not_fill_the_audit(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        ci = (await console.post("/v1/tokens", {"name": "ci", "role": "viewer", "project": "shop"}))["token"]
        assert (await reply(console, ci, "/v1/holds", {"project": "x" * 9_000, "service": "y" * 9_000}))[0] == 403

        refused = next(one for one in await entries(console, 2) if one["result"] == "refused")

        assert len(json.dumps(refused)) < 1_500

    with_console(tmp_path, story)


class Interrupted(Audit):
    """An audit before whose first entry the event store goes away for a moment."""

    died = False

    async def _put(self, entry: Entry) -> None:
        if not self.died:
            self.died = True
            raise Unavailable("the event store went away", reason="nats_away")
        await super()._put(entry)


def test_a_decision_is_told_though_the_store_was_away_when_it_was_read(tmp_path: Path) -> None:
    async def story(bus: Bus) -> None:
        decided = Decision(id="del-9", about="delivery", outcome="accepted", reason="planned", message="", sha="1" * 40)
        await bus.commit(Write(decided.subject, decided.encode(), 0))
        audit = Interrupted(bus, tmp_path / "audit.sqlite", keep=3600.0)
        following = asyncio.create_task(audit.follow())
        async with asyncio.timeout(60), bus.watch("audit.told.>") as messages:
            told = json.loads((await anext(messages)).data)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        audit.close()

        assert (told["id"], audit.died) == ("del-9", True)

    with_bus(tmp_path, story)


def test_nobody_can_delete_an_entry_and_the_table_fills_again(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        await console.post("/v1/holds", HOLD)
        await entries(console, 1)
        for call, body in (("STREAM.PURGE.AUDIT", {}), ("STREAM.MSG.DELETE.AUDIT", {"seq": 1})):
            refused = await _refused(console, call, body)
            assert refused, call
        assert len(await entries(console, 1)) == 1

    with_console(tmp_path, story)


async def _refused(console: Console, call: str, body: dict[str, Any]) -> bool:
    answer = await console.store.bus.ask(f"$JS.API.{call}", json.dumps(body).encode())
    return "error" in json.loads(answer)
