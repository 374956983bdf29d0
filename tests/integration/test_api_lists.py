"""The API's lists, tags and keys over HTTP: pages that nothing moves, 304, repeated writes, events that resume."""

from __future__ import annotations

import asyncio
import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from console.asking import command_id
from console.client import Failure
from pipeline.events import HoldRequested
from pipeline.records import Parked, ServiceRecord
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console


def _at(minute: int) -> str:
    return f"2026-03-05T10:{minute:02d}:00.000Z"


def _ask(console: Console, address: str, **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(urlsplit(console.url).netloc, timeout=60)
    connection.request("GET", address, headers={"Authorization": f"Bearer {TOKEN}", **headers})
    answer = connection.getresponse()
    found = answer.status, answer.getheader("etag", ""), answer.read()
    connection.close()
    return found


def test_pages_neither_repeat_nor_skip_while_runs_are_added(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        old = [replace(data.run(number, "succeeded"), created_at=_at(number)) for number in range(10, 16)]
        await console.put(*data.shop(), *old)

        first = await console.get("/v1/runs", limit=4)
        await console.put(replace(data.run(30, "running"), created_at=_at(30)))
        second = await console.get("/v1/runs", limit=4, cursor=first["next"])

        assert [run["id"] for run in first["runs"]] == ["r-15", "r-14", "r-13", "r-12"]
        assert [run["id"] for run in second["runs"]][:2] == ["r-11", "r-10"]
        assert {run["id"] for run in second["runs"]} == {"r-11", "r-10", "r-2", "r-1"}
        assert second["next"] == ""
        assert (await console.failure("/v1/runs", cursor="nonsense")).reason == "bad_cursor"

    with_console(tmp_path, story)


def test_services_are_paged_by_name_with_what_is_live(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        more = [ServiceRecord(project="shop", service=f"worker-{number}", last_release=1) for number in range(3)]
        await console.put(*data.shop(), *more)

        first = await console.get("/v1/projects/shop/services", include_status=True, limit=2)
        rest = await console.get("/v1/projects/shop/services", include_status=True, limit=9, cursor=first["next"])

        assert [one["name"] for one in first["services"]] == ["web", "worker-0"]
        assert [one["current_deployment"] and one["current_deployment"]["id"] for one in first["services"]] == [
            "d-2", None]  # fmt: skip
        assert ([one["name"] for one in rest["services"]], rest["next"]) == (["worker-1", "worker-2"], "")

    with_console(tmp_path, story)


def test_deployments_and_decisions_are_filtered(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.target(2, data.IMAGE2, data.SHA2, held=True, hold_by="ada"))

        running = await console.get("/v1/deployments", project="shop", status="running")
        none = await console.get("/v1/deliveries", project="shop", outcome="refused")
        holds = await console.get("/v1/holds", project="shop")

        assert [one["id"] for one in running["deployments"]] == ["d-2"]
        assert none == {"deliveries": [], "next": ""}
        assert [(one["service"], one["by"]) for one in holds["holds"]] == [("web", "ada")]

    with_console(tmp_path, story)


def test_who_has_the_answer_is_told_so(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        status, tag, body = await asyncio.to_thread(_ask, console, "/v1/releases/shop.web.v2")
        again = await asyncio.to_thread(_ask, console, "/v1/releases/shop.web.v2", **{"If-None-Match": f'"x", W/{tag}'})
        await console.put(data.deployment(2, data.IMAGE2, data.SHA2, data.AT2, "failed"))
        changed = await asyncio.to_thread(_ask, console, "/v1/releases/shop.web.v2", **{"If-None-Match": tag})

        assert (status, json.loads(body)["status"]) == (200, "running")
        assert again == (304, tag, b"")
        assert (changed[0], json.loads(changed[2])["status"]) == (200, "failed")

    with_console(tmp_path, story)


def test_a_key_stands_for_one_request_whatever_its_address(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        first = await console.post("/v1/holds", data.PLACE, key="k-1")
        repeated = await console.post("/v1/holds", data.PLACE, key="k-1")

        async def refused(address: str, body: dict[str, str]) -> str:
            try:
                await console.post(address, body, key="k-1")
            except Failure as failure:
                return failure.reason
            return ""

        assert first == repeated == {"command": command_id("k-1", actor="deployer", project="shop")}
        assert await refused("/v1/holds", {**data.PLACE, "why": "another"}) == "key_reused"
        assert await refused("/v1/resumes", data.PLACE) == "key_reused"

    with_console(tmp_path, story)


def test_a_request_whose_answer_was_lost_is_the_same_request_whatever_happened_since(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(1, "succeeded", data.SHA1))
        wanted = {"project": "shop", "environment": "production", "sha": data.SHA1[:8]}
        first = await console.post("/v1/deploys", wanted, key="k-1")
        await console.put(data.release(1, data.IMAGE1, data.SHA1, data.AT1))  # the commit has a release now

        assert await console.post("/v1/deploys", wanted, key="k-1") == first

    with_console(tmp_path, story)


def test_an_event_that_was_dropped_is_dropped_again_and_not_retried(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        parked = Parked(
            id="p-1", consumer="committer", subject_parked="ev.x.y.z", event_type="x.y", reason="boom", message="-",
            attempts=5, at=data.AT1,
        )  # fmt: skip
        await console.put(parked)

        dropped = [await console.post("/v1/parked/p-1/drop", {}) for _ in range(2)]
        retried = await console.failure_of("/v1/parked/p-1/retry", {})

        assert dropped == [{"id": "p-1", "status": "dropped"}] * 2
        assert retried.reason == "settled_otherwise"

    with_console(tmp_path, story)


def test_events_go_on_behind_the_last_one_that_was_read(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        for number in range(3):
            await console.store.publish(HoldRequested(id=f"k-{number}", **data.PLACE, actor="ada"))

        def read(last: str, count: int) -> list[tuple[str, str]]:
            found = []
            for event in console.client._stream("/v1/events?project=shop", last):
                found.append((event.id, event.data["id"]))
                if len(found) == count:
                    break
            return found

        first = await console.store.bus.get("ev.hold.requested." + _token("k-0"))
        assert first is not None
        behind = await asyncio.to_thread(read, f"{first.seq}-0", 2)

        assert [name for _, name in behind] == ["k-1", "k-2"]

    with_console(tmp_path, story)


def test_the_queue_tells_what_waits_and_for_how_long(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        bus = console.store.bus
        await console.store.publish(HoldRequested(id="k-1", **data.PLACE), HoldRequested(id="k-2", **data.PLACE))
        async with bus.consume("PIPE", "committer", ["ev.hold.requested.*"], inflight=1) as messages:
            first = await anext(messages)
            found = (await console.get("/v1/queue"))["queue"]
            await first.ack()
            left = (await console.get("/v1/queue"))["queue"]

        assert [(one["stage"], one["stream"]) for one in found] == [("committer", "PIPE")]
        assert found[0]["waiting"] + found[0]["in_hand"] == 2
        assert found[0]["oldest_seconds"] > 0
        assert left[0]["waiting"] + left[0]["in_hand"] == 1

    with_console(tmp_path, story)


def _token(text: str) -> str:
    return HoldRequested(id=text, **data.PLACE).subject.rpartition(".")[2]
