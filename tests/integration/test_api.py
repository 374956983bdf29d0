"""The API over HTTP in front of a real event store: what it answers, whom it lets in, what it publishes."""

from __future__ import annotations

import asyncio
import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from console.advice import BY_REASON
from console.asking import command_id
from console.client import Client, Failure
from gitops.clusters import LogLine
from pipeline.events import DeployRequested, RollbackRequested, decode
from pipeline.names import token
from pipeline.records import Decision, Parked
from tests.integration import console_records as data
from tests.integration.console_server import Console, with_console

K1 = command_id("k-1", actor="deployer", project="shop")


def test_without_the_token_there_is_a_problem_and_no_answer(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        def ask(headers: dict[str, str]) -> tuple[int, str | None, dict[str, object]]:
            connection = http.client.HTTPConnection(urlsplit(console.url).netloc, timeout=60)
            connection.request("GET", "/v1/projects", headers=headers)
            answer = connection.getresponse()
            found = answer.status, answer.getheader("content-type"), json.loads(answer.read())
            connection.close()
            return found

        status, kind, problem = await asyncio.to_thread(ask, {})
        wrong, _, told = await asyncio.to_thread(ask, {"Authorization": "Bearer wrong"})

        assert (status, kind, problem["reason_code"]) == (401, "application/problem+json", "no_token")
        assert (wrong, told["reason_code"], told["exit_code"]) == (401, "wrong_token", 4)

    with_console(tmp_path, story)


def test_the_address_that_a_push_prints_leads_to_the_login_and_tells_nothing(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        def ask(path: str) -> tuple[int, str, str]:
            connection = http.client.HTTPConnection(urlsplit(console.url).netloc, timeout=60)
            connection.request("GET", path)
            answer = connection.getresponse()
            found = answer.status, answer.getheader("location", ""), answer.read().decode()
            connection.close()
            return found

        await console.put(*data.shop())
        status, location, text = await asyncio.to_thread(ask, "/runs/r-1")
        unknown = await asyncio.to_thread(ask, "/runs/r-2")
        _, _, page = await asyncio.to_thread(ask, location)

        assert (status, text) == (303, "")
        assert location.startswith("/login")
        assert unknown[0] == status
        assert "enclii open" in page

    with_console(tmp_path, story)


def test_a_release_that_was_removed_is_live_nowhere(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        gone = replace(data.live(2, data.IMAGE2, data.AT2), deployment="", status="removed")
        await console.put(*data.shop(), gone)

        found = await console.get("/v1/services/shop.web/releases")

        assert [one["live"] for one in found["releases"]] == [[], []]

    with_console(tmp_path, story)


def test_the_latest_deployment_is_the_newest_attempt(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        failed = data.deployment(3, data.IMAGE1, data.SHA1, "2026-03-03T10:00:00.000Z", "failed")
        await console.put(*data.shop(), failed)

        found = await console.get("/v1/services/shop.web/deployments/latest", environment="production")

        wanted = {"deployment_id": "d-3", "service_id": "shop.web", "release_id": "shop.web.v3", "status": "failed",
                  "environment": "production", "health": "unknown", "created_at": failed.created_at}  # fmt: skip
        assert wanted.items() <= found.items()
        assert isinstance(found["replicas"], int)

    with_console(tmp_path, story)


def test_services_show_what_is_live(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())

        found = await console.get("/v1/projects/shop/services", environment="production", include_status=True)

        current = found["services"][0]["current_deployment"]
        shown = {"id": "d-2", "status": "running", "health": "healthy", "replicas": "2/2", "version": "v2"}
        assert shown.items() <= current.items()
        assert current["uptime"]

    with_console(tmp_path, story)


def test_releases_come_newest_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())

        both = (await console.get("/v1/services/shop.web/releases"))["releases"]
        one = (await console.get("/v1/services/shop.web/releases", limit=1))["releases"]

        assert [(r["version"], r["image_uri"], r["git_sha"]) for r in both] == [
            ("v2", data.IMAGE2, data.SHA2), ("v1", data.IMAGE1, data.SHA1)]  # fmt: skip
        assert [r["id"] for r in one] == ["shop.web.v2"]
        assert [r["live"] for r in both] == [["production"], []]

    with_console(tmp_path, story)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/v1/services/shop.wbe/releases", "no_such_service"),
        ("/v1/services/shpo.web/deployments/latest", "no_such_project"),
        ("/v1/projects/shpo/services", "no_such_project"),
        ("/v1/deployments/d-none", "no_such_deployment"),
        ("/v1/releases/shop.web.v9/deployments", "no_such_release"),
        ("/v1/runs/r-none", "no_such_run"),
        ("/v1/commands/none", "no_such_command"),
        ("/v1/why/none", "nothing_known"),
        ("/v1/projects/shpo/pushes", "no_such_project"),
        ("/v1/services/shop.web/logs?environment=production&release=v9", "no_such_release"),
    ],
)
def test_an_unknown_name_is_not_found_and_says_what_to_do(tmp_path: Path, address: str, reason: str) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        failure = await console.failure(address)
        assert (failure.exit_code, failure.reason, failure.advice) == (5, reason, BY_REASON[reason])

    with_console(tmp_path, story)


def test_a_query_that_is_not_understood_is_refused_by_its_name(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        flag = await console.failure("/v1/projects/shop/services", include_status="banana")
        number = await console.failure("/v1/services/shop.web/releases", limit="ten")
        told = [(one.exit_code, one.reason, one.message.partition(":")[0]) for one in (flag, number)]
        assert told == [(2, "bad_field", "include_status"), (2, "bad_field", "limit")]

    with_console(tmp_path, story)


def test_a_rollback_is_published_once_for_one_key(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        body = {**data.PLACE, "to": 1, "expected": "d-2", "why": "errors"}

        first = await console.post("/v1/rollbacks", body, key="k-1")
        again = await console.post("/v1/rollbacks", body, key="k-1")

        entry = await console.store.bus.get(f"ev.rollback.requested.{token(K1)}")
        assert first == again == {"command": K1}
        assert entry is not None
        event = decode("rollback.requested", entry.data)
        assert isinstance(event, RollbackRequested)
        assert (event.to, event.expected, event.actor, event.hold) == (1, "d-2", "deployer", True)

    with_console(tmp_path, story)


def test_a_key_does_not_stand_for_two_requests(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        await console.post("/v1/rollbacks", {**data.PLACE, "to": 1}, key="k-1")
        with pytest.raises(Failure, match="Idempotency-Key") as raised:
            await console.post("/v1/rollbacks", {**data.PLACE, "to": 2}, key="k-1")
        assert raised.value.exit_code == 6

    with_console(tmp_path, story)


@pytest.mark.parametrize(
    ("address", "body", "reason"),
    [
        ("/v1/rollbacks", {**data.PLACE, "to": "one"}, "bad_field"),
        ("/v1/rollbacks", {**data.PLACE, "actor": "root"}, "unknown_field"),
        ("/v1/rollbacks", {"project": "shop", "environment": "production"}, "bad_name"),
        ("/v1/holds", {**data.PLACE, "environment": "nowhere"}, "no_such_environment"),
        ("/v1/deploys", {"project": "shop", "environment": "production", "sha": "main"}, "bad_sha"),
        ("/v1/cancels", {"run": "r-none"}, "no_such_run"),
    ],
)
def test_a_wrong_request_is_refused_by_field(
    tmp_path: Path, address: str, body: dict[str, object], reason: str
) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        with pytest.raises(Failure) as raised:
            await console.post(address, body)
        assert raised.value.reason == reason

    with_console(tmp_path, story)


def test_a_command_is_pending_until_it_is_decided(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        await console.post("/v1/holds", data.PLACE, key="k-1")
        pending = await console.get(f"/v1/commands/{K1}")
        waiting = asyncio.create_task(console.get(f"/v1/commands/{K1}", wait=20))
        await console.put(Decision(id=K1, about="command", outcome="accepted", reason="held", message="held at v2"))

        decided = await waiting

        assert pending["status"] == "pending"
        assert decided["decision"]["outcome"] == "accepted"

    with_console(tmp_path, story)


def test_a_build_log_is_read_to_its_end_and_resumed_by_id(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        subject = f"log.build.{token('r-2', 'web')}"
        lines = b"\n".join(json.dumps({"t": data.AT1, "s": "stdout", "l": f"line {n}"}).encode() for n in range(3))
        await console.store.bus.append(subject, lines)
        await console.store.bus.append(subject, b'{"t": "", "s": "step", "l": "done"}\n{"end": true}')

        def read() -> list[tuple[str, str]]:
            address = "/v1/runs/r-2/logs"
            return [(event.data["text"], event.id) for event in console.client.events(address, {"follow": True})]

        found = await asyncio.to_thread(read)
        rest = await asyncio.to_thread(_texts_behind, console.client, found[1][1])

        assert [text for text, _ in found] == ["line 0", "line 1", "line 2", "done"]
        assert rest == ["line 2", "done"]

    with_console(tmp_path, story)


def _texts_behind(client: Client, last: str) -> list[str]:
    events = client._stream("/v1/runs/r-2/logs?service=web", last)
    return [event.data["text"] for event in events if event.kind == "line"]


def test_service_lines_carry_ids_that_resume_within_one_instant(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        console.logs.lines = [LogLine(1_000, f"web.{n}", "v2", "stdout", b"line \xff\n"[:-1]) for n in range(3)]

        def read(last: str) -> list[str]:
            events = console.client._stream("/v1/services/shop.web/logs?environment=production&tail=5", last)
            return [event.id for event in events if event.kind == "line"]

        everything = await asyncio.to_thread(read, "")
        rest = await asyncio.to_thread(read, everything[0])

        assert len(everything) == 3
        assert rest == everything[1:]
        assert [asked["tail"] for asked in console.logs.asked] == [5, None]

    with_console(tmp_path, story)


def test_a_run_is_followed_until_nothing_of_it_moves(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))

        def follow() -> list[str]:
            return [event.data["status"] for event in console.client.events("/v1/runs/r-3/events")]

        following = asyncio.create_task(asyncio.to_thread(follow))
        await console.put(data.job(3, "deployed"), data.run(3, "succeeded"))

        assert (await following)[-1] == "succeeded"

    with_console(tmp_path, story)


def test_a_parked_event_that_is_retried_is_published_again(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        event = DeployRequested(id="k-9", project="shop", environment="production", sha=data.SHA1)
        await console.store.publish(event)
        before = await console.store.bus.get(event.subject)
        await console.put(
            Parked(
                id="p-1", consumer="committer", subject_parked=event.subject, event_type=event.type, reason="boom",
                message="-", attempts=5, at=data.AT1,
            )
        )  # fmt: skip

        await console.post("/v1/parked/p-1/retry", {})

        after = await console.store.bus.get(event.subject)
        assert before is not None
        assert after is not None
        assert after.seq > before.seq
        assert (after.data, after.headers["ce-type"]) == (before.data, before.headers["ce-type"])
        settled = await console.store.get(Parked, "p-1")
        assert settled is not None
        assert (settled.record.state, settled.record.reason) == ("retried", "boom")

    with_console(tmp_path, story)


def test_the_status_says_what_is_wanted_live_and_held(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        held = data.target(1, data.IMAGE1, data.SHA1, held=True, hold_by="deployer", held_release="shop.web.v2")
        await console.put(*data.shop(), held)

        found = (await console.get("/v1/status", project="shop"))["services"][0]

        assert [found[side]["version"] for side in ("desired", "live")] == ["v1", "v2"]
        assert (found["hold"]["waiting"], found["next"]) == ("v2", "enclii resume -p shop -e production -s web")

    with_console(tmp_path, story)


def test_each_replica_is_a_process(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        found = (await console.get("/v1/ps", project="shop", environment="production"))["processes"]
        assert [(p["process"], p["ready"], p["status"], p["release"]) for p in found] == [
            ("web.1", "1/1", "running", "v2"), ("web.2", "1/1", "running", "v2")]  # fmt: skip

    with_console(tmp_path, story)


def test_the_plan_of_a_rollback_names_the_last_healthy_release(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        plan = await console.get("/v1/services/shop.web/rollback-plan", environment="production")
        assert (plan["from"], plan["to"], plan["expected"]) == ("v2", "v1", "d-2")

    with_console(tmp_path, story)


def test_an_open_stream_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"))
        seen = asyncio.Event()
        loop = asyncio.get_running_loop()

        def follow() -> int:
            count = 0
            for _ in console.client._stream("/v1/runs/r-3/events", ""):
                count += 1
                loop.call_soon_threadsafe(seen.set)
            return count

        following = asyncio.create_task(asyncio.to_thread(follow))
        await seen.wait()
        console.stopping.set()

        assert await following == 1

    with_console(tmp_path, story)
