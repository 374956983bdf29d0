"""The webhook receiver over HTTP with a real nats-server: what is taken, what is refused, and what comes twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from ingest.hooks import Secret
from ingest.receiver import BODY_LIMIT, create_receiver
from pipeline.bus import connect
from pipeline.events import Delivery
from pipeline.names import run_id
from pipeline.process import orphan_proof
from pipeline.records import Decision, Outcome, Run
from pipeline.store import Change, Step, Store
from tests.support.nats import running_nats, running_server
from tests.support.serving import serving

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data/github"
PUSH = (DATA / "push.json").read_bytes()
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
ID = f"github:shop:{GUID}"
NEW, OLD = b"the new secret", b"the old secret"
SECRETS = {"shop": (Secret("new", NEW), Secret("old", OLD), Secret("gone", b"expired", not_after=1.0))}
LIMIT = 90.0


@dataclass
class Room:
    """A receiver on its event store."""

    store: Store
    url: str
    client: httpx2.AsyncClient

    async def post(
        self, body: bytes = PUSH, *, hook: str = "shop", key: bytes = NEW, event: str = "push", **more: Any
    ) -> httpx2.Response:
        headers = {"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": GUID}
        headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        headers |= more.pop("headers", {})
        return await self.client.post(f"{self.url}/hooks/github/{hook}", content=body, headers=headers)

    async def deliveries(self) -> list[Delivery]:
        return [msgspec.json.decode(entry.data, type=Delivery) for entry in await self.store.bus.scan("hooks.>")]

    async def decide(self, outcome: Outcome, *, attempt: int = 0, run: str = "") -> None:
        decision = Decision(id=ID, about="delivery", outcome=outcome, reason="r", message="m", attempt=attempt, run=run)
        await self.store.commit(Step(changes=(Change(decision, None),)))


@contextlib.asynccontextmanager
async def opened(nats: str) -> AsyncIterator[Room]:
    bus = await connect(nats, name="test", wait=60.0)
    await bus.create_streams()
    receiver = create_receiver(store=Store(bus), secrets=lambda _, hook: SECRETS.get(hook))
    try:
        async with serving(receiver) as url, httpx2.AsyncClient(timeout=LIMIT) as client:
            yield Room(Store(bus), url, client)
    finally:
        await bus.close()


def in_room(tmp: Path, scenario: Callable[[Room], Awaitable[None]]) -> None:
    async def whole(nats: str) -> None:
        async with opened(nats) as room:
            await scenario(room)

    with running_nats(tmp) as url:
        asyncio.run(whole(url))


def test_a_signed_push_is_stored_and_answered_with_a_receipt(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        answer = await room.post()
        receipt = {"delivery": ID, "run": run_id(ID), "stream": "HOOKS", "sequence": 1}
        assert (answer.status_code, answer.json()) == (202, receipt)
        [delivery] = await room.deliveries()
        assert (delivery.repository, delivery.ref, delivery.secret_id) == ("github:186853002", "refs/heads/main", "new")

    in_room(tmp_path, scenario)


def test_every_live_secret_works_and_an_expired_one_does_not(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        assert (await room.post(key=b"expired")).status_code == 401
        assert (await room.post(key=OLD)).status_code == 202
        assert (await room.deliveries())[0].secret_id == "old"

    in_room(tmp_path, scenario)


def test_ping_and_other_events_are_recorded_under_their_own_name(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        for number, (event, file) in enumerate((("ping", "ping.json"), ("issues", "issues_opened.json"))):
            headers = {"X-GitHub-Delivery": f"{number}{GUID[1:]}"}
            answer = await room.post((DATA / file).read_bytes(), event=event, headers=headers)
            assert answer.status_code == 202
        assert [d.kind for d in await room.deliveries()] == ["ping", "issues"]

    in_room(tmp_path, scenario)


def test_bad_input_is_refused_by_its_status_and_leaves_nothing(tmp_path: Path) -> None:
    good = "sha256=" + hmac.new(NEW, PUSH, hashlib.sha256).hexdigest()
    cases: list[tuple[int, dict[str, Any]]] = [
        (401, {"key": b"wrong"}),
        (401, {"headers": {"X-Hub-Signature-256": ""}}),
        (401, {"headers": {"X-Hub-Signature-256": "sha256="}}),
        (401, {"headers": {"X-Hub-Signature-256": good[:-2]}}),
        (401, {"headers": {"X-Hub-Signature-256": good.replace("sha256", "sha1")}}),
        (404, {"hook": "other"}),
        (404, {"hook": "shop%2e"}),
        (404, {"hook": "a/shop"}),
        (415, {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
        (415, {"headers": {"Content-Encoding": "gzip"}}),
        (400, {"headers": {"X-GitHub-Event": "no such!"}}),
        (400, {"headers": {"X-GitHub-Delivery": ""}}),
        (400, {"body": b""}),
        (400, {"body": b"[]"}),
        (400, {"body": b"{"}),
        (400, {"body": b"\xff\xfe"}),
        (400, {"body": b"[" * 100_000}),
        (400, {"body": b'{"x":' * 100_000}),
        (400, {"body": b'{"ref": 1}'}),
        (400, {"body": PUSH.replace(b"refs/heads/main", b"refs/heads/../x")}),
        (400, {"event": "ping"}),
    ]

    async def scenario(room: Room) -> None:
        seen = [(await room.post(**case)).status_code for _, case in cases]
        assert seen == [status for status, _ in cases]
        assert await room.deliveries() == []
        assert (await room.client.get(f"{room.url}/hooks/github/shop")).status_code == 405

    in_room(tmp_path, scenario)


def test_an_unknown_hook_is_answered_in_the_form_of_a_wrong_signature(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        wrong, unknown = await room.post(key=b"wrong"), await room.post(hook="other")
        assert wrong.json().keys() == unknown.json().keys() == {"error"}

    in_room(tmp_path, scenario)


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        host, port = room.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /hooks/github/shop HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT + 1}\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n")
        assert b" 413 " in await asyncio.wait_for(reader.readline(), LIMIT)
        writer.close()

    in_room(tmp_path, scenario)


def test_a_chunked_body_beyond_the_limit_is_refused_while_it_comes(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        host, port = room.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /hooks/github/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        writer.write(head + b"Content-Type: application/json\r\n\r\n")
        answer = asyncio.create_task(reader.readline())
        with contextlib.suppress(ConnectionError):
            for _ in range(30):
                writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
                await writer.drain()
        assert b" 413 " in await asyncio.wait_for(answer, LIMIT)
        writer.close()

    in_room(tmp_path, scenario)


def test_a_body_of_the_full_size_is_taken(tmp_path: Path) -> None:
    body = PUSH.rstrip()[:-1] + b', "filler": "' + b"x" * (BODY_LIMIT - len(PUSH) - 100) + b'"}'

    async def scenario(room: Room) -> None:
        assert (await room.post(body)).status_code == 202

    in_room(tmp_path, scenario)


def test_a_second_delivery_is_a_duplicate_while_the_first_runs_and_after_it_succeeded(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.post()
        duplicate = {"status": "duplicate", "delivery": ID}
        for outcome in (None, "accepted", "held", "duplicate"):
            if outcome is not None:
                await room.decide(outcome)
            answer = await room.post()
            assert (answer.status_code, answer.json()) == (200, duplicate)
        assert len(await room.deliveries()) == 1

    in_room(tmp_path, scenario)


def test_a_second_delivery_of_one_that_came_to_nothing_starts_again(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.post()
        outcomes: tuple[Outcome, ...] = ("failed", "refused", "skipped")
        for attempt, outcome in enumerate(outcomes):
            await room.decide(outcome, attempt=attempt)
            answer = await room.post()
            assert (answer.status_code, answer.json()["run"]) == (202, run_id(ID, attempt + 1))
            assert (await room.post()).status_code == 200
        assert [d.attempt for d in await room.deliveries()] == [0, 1, 2, 3]

    in_room(tmp_path, scenario)


def test_a_second_delivery_of_an_accepted_one_whose_run_failed_starts_again(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        await room.post()
        ran = Run(
            id=run_id(ID),
            project="shop",
            repository="github:186853002",
            ref="refs/heads/main",
            sha="a" * 40,
            actor="deployer",
            subject_line="",
            delivery=ID,
            created_at="",
            status="failed",
        )
        await room.store.commit(Step(changes=(Change(ran),)))
        await room.decide("accepted", run=ran.id)
        assert (await room.post()).json()["run"] == run_id(ID, 1)

    in_room(tmp_path, scenario)


def test_of_the_same_delivery_sent_many_times_at_once_one_is_taken(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        answers = await asyncio.gather(*(room.post() for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]

    in_room(tmp_path, scenario)


def test_receivers_beside_each_other_take_what_each_is_sent_and_nothing_twice(tmp_path: Path) -> None:
    async def whole(nats: str) -> None:
        async with opened(nats) as one, opened(nats) as other:
            same = await asyncio.gather(*(room.post() for room in (one, other) for _ in range(5)))
            guids = [{"X-GitHub-Delivery": f"{GUID[:-2]}{number:02}"} for number in range(10, 20)]
            rooms = [one, other] * 5
            each = await asyncio.gather(*(room.post(headers=of) for room, of in zip(rooms, guids, strict=True)))

            assert sorted(answer.status_code for answer in same) == [200] * 9 + [202]
            assert {answer.status_code for answer in each} == {202}
            assert len(await one.deliveries()) == 11

    with running_nats(tmp_path) as url:
        asyncio.run(whole(url))


def test_a_receiver_that_dies_before_its_answer_has_taken_the_delivery_once(tmp_path: Path) -> None:
    async def scenario(nats: str) -> None:
        async with opened(nats) as room:
            alive, room.url = room.url, ""
            async with _dying_receiver(nats) as (room.url, dying):
                with pytest.raises(httpx2.TransportError):
                    await room.post()
                assert await asyncio.wait_for(dying.wait(), LIMIT) == -signal.SIGKILL
            room.url = alive
            for _ in range(2):
                answer = await room.post()
                assert (answer.status_code, answer.json()) == (200, {"status": "duplicate", "delivery": ID})
            assert [delivery.attempt for delivery in await room.deliveries()] == [0]

    with running_nats(tmp_path) as url:
        asyncio.run(scenario(url))


@contextlib.asynccontextmanager
async def _dying_receiver(nats: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    argv = orphan_proof((sys.executable, "-m", "tests.support.dying_receiver", nats))
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield (await asyncio.wait_for(process.stdout.readline(), LIMIT)).decode().strip(), process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def test_without_the_event_store_the_forge_is_told_to_come_again(tmp_path: Path) -> None:
    async def scenario(nats: str) -> None:
        async with opened(nats) as room:
            server.kill()
            server.wait()
            answer = await room.post()
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) >= 1
            await room.store.bus.close()

    with running_server(tmp_path) as (url, server):
        asyncio.run(scenario(url))


def test_a_full_event_store_takes_nothing_and_says_so(tmp_path: Path) -> None:
    async def scenario(room: Room) -> None:
        answer = json.loads((await room.store.bus._request("$JS.API.STREAM.INFO.HOOKS", b"", None)).decode())
        await room.store.bus._api("STREAM.UPDATE.HOOKS", answer["config"] | {"max_bytes": 200})
        refused = await room.post()
        assert (refused.status_code, refused.json()) == (503, {"error": "nats_full"})
        assert "Retry-After" in refused.headers

    in_room(tmp_path, scenario)
