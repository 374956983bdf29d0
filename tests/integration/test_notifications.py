"""Notifications on a real store, to a web server and a mail server: each once, whatever fails or ends meanwhile."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gitops.forge.destinations import Destination, send, signature
from gitops.forge.notices import Notice
from gitops.forge.notifying import TRIES, Notifier
from pipeline.answers import Answer
from pipeline.bus import connect
from pipeline.errors import Refused, Unavailable
from pipeline.main import in_background
from pipeline.records import Deployment, Project
from pipeline.runs import Run
from pipeline.store import Change, R, Step, Store, Stored
from tests.support.certificates import write_certificates
from tests.support.nats import running_nats
from tests.support.serving import serving

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes!").decode()
FAILED = Deployment(
    id="d-1", project="shop", environment="production", service="web", release="shop.web.v2", image="i",
    status="failed", reason="unhealthy", message="/healthz answers 500", config_commit="c",
)  # fmt: skip


NOTICE = Notice("failure/d-1", "failure", "shop", "web failed", "", "d-1")


class Shaky(Store):
    """A store whose server does not answer for a while: so many reads of projects, so many steps."""

    reads = steps = 0

    async def get(self, kind: type[R], *key: str) -> Stored[R] | None:
        if kind is Project and type(self).reads > 0:
            type(self).reads -= 1
            raise Unavailable("away", reason="nats_away", delay=0.01)
        return await super().get(kind, *key)

    async def commit(self, step: Step) -> None:
        if type(self).steps > 0 and any(isinstance(one.record, Answer) for one in step.changes):
            type(self).steps -= 1
            raise Unavailable("away", reason="nats_away", delay=0.01)
        await super().commit(step)


async def until(question: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not question():  # noqa: ASYNC110 - the other side's state
            await asyncio.sleep(0.02)


@asynccontextmanager
async def mailbox(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[str]]]:
    """A mail server that takes everything; its address and the messages."""
    messages: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                messages.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                break
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", messages


def destination(folder: Path, name: str, **fields: object) -> None:
    (folder / "notify").mkdir(exist_ok=True)
    file = folder / f"notify/{name}.json"
    file.touch(0o600)
    file.write_text(json.dumps(fields))


def test_a_failure_and_its_recovery_are_told_once_each_signed_and_after_a_restart(tmp_path: Path) -> None:
    came: list[tuple[Mapping[str, str], bytes]] = []
    answers = [503]

    async def take(request: Request) -> Response:
        came.append((request.headers, await request.body()))
        return Response(status_code=answers.pop() if answers else 204)

    async def story(nats: str) -> None:
        bus = await connect(nats, name="test")
        await bus.create_streams()
        store = Store(bus)
        wanted = {"hooks": ("failure", "recovery"), "mail": ("recovery",), "missing": ("failure",)}
        project = Project(slug="shop", notifications=wanted)
        app = Starlette(routes=[Route("/", take, methods=["POST"])])
        async with serving(app) as url, mailbox() as (mail, letters):
            destination(tmp_path, "hooks", kind="webhook", url=url, secret=SECRET)
            destination(
                tmp_path, "mail", kind="email", server=mail, tls="none", sender="enclii@x.test", to=["a@x.test"]
            )
            await store.commit(Step((Change(project), Change(FAILED))))
            await notified(store, tmp_path, lambda: len(came) == 2)  # the first answer was 503
            again = replace(FAILED, id="d-2", status="running", reason="", message="")
            await store.commit(Step((Change(again),)))
            await notified(store, tmp_path, lambda: len(came) == 3 and letters)
            await store.commit(Step((Change(replace(FAILED, id="d-3", status="degraded")),)))
            await notified(store, tmp_path, lambda: len(came) == 4)  # and what was told before is not told again
        assert [json.loads(body)["type"].partition(".")[2] for _, body in came] == [
            "failure", "failure", "recovery", "failure",
        ]  # fmt: skip
        assert came[0][0]["webhook-id"] == came[1][0]["webhook-id"] != came[2][0]["webhook-id"]
        for headers, body in came:
            at = int(headers["webhook-timestamp"])
            assert headers["webhook-signature"] == signature(SECRET, headers["webhook-id"], at, body)
        assert ["shop/production/web runs again" in one for one in letters] == [True]
        await bus.close()

    with running_nats(tmp_path / "nats") as nats:
        asyncio.run(story(nats))


def test_cdevents_come_signed_each_once_and_to_webhooks_alone(tmp_path: Path) -> None:
    came: list[tuple[Mapping[str, str], bytes]] = []
    answers = [503, 503]

    async def take(request: Request) -> Response:
        came.append((request.headers, await request.body()))
        return Response(status_code=answers.pop() if answers else 202)

    run = Run(
        id="r-1", project="shop", repository="github:1", ref="refs/heads/main", sha="b" * 40, actor="ada",
        subject_line="", delivery="d", created_at="2026-11-24T04:00:00.000Z", status="succeeded",
    )  # fmt: skip
    ran = replace(FAILED, status="running", running_at="2026-11-24T04:00:20.000Z", image=f"host/web@sha256:{'a' * 64}")

    async def story(nats: str) -> None:
        store = Store(bus := await connect(nats, name="test"))
        await bus.create_streams()
        wanted: dict[str, tuple[str, ...]] = {"lake": ("cdevents",), "chat": ("cdevents",), "other": ("hold",)}
        async with serving(Starlette(routes=[Route("/", take, methods=["POST"])])) as url:
            destination(tmp_path, "lake", kind="webhook", url=url, secret=SECRET)
            destination(tmp_path, "chat", kind="slack", url=f"{url}chat")
            destination(tmp_path, "other", kind="webhook", url=f"{url}other", secret=SECRET)
            await store.commit(Step((Change(Project(slug="shop", notifications=wanted)), Change(run), Change(ran))))
            await notified(store, tmp_path, lambda: len(came) == 5)  # the first two answers were 503
            newer = replace(run, id="r-2", status="running")
            await store.commit(Step((Change(replace(ran, status="degraded"), None), Change(newer))))
            await notified(store, tmp_path, lambda: len(came) == 6)  # it has run once, whatever becomes of it
        refused = await store.get(Answer, "notify/chat", "cdevents/run/r-1/started")
        assert refused is not None
        assert refused.record.problem == "destination_unfit"
        await bus.close()

    with running_nats(tmp_path / "nats") as nats:
        asyncio.run(story(nats))

    taken = {headers["webhook-id"]: json.loads(body) for headers, body in came}
    assert sorted(one["type"].removeprefix("dev.cdevents.") for one in taken.values()) == [
        "pipelinerun.finished.0.3.0", "pipelinerun.started.0.3.0", "pipelinerun.started.0.3.0",
        "service.deployed.0.3.0",
    ]  # fmt: skip
    for headers, body in came:
        assert headers["content-type"] == "application/cloudevents+json"
        at = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signature(SECRET, headers["webhook-id"], at, body)


async def notified(store: Store, folder: Path, done: Callable[[], Any]) -> None:
    """One life of the process that notifies, until something is done and nothing is left to do."""
    notifier = Notifier(store, folder, console_url="https://enclii.test", backoff=(0.05,))
    async with in_background(notifier.work(), *notifier.watching()):
        await until(done)
        await until(lambda: not notifier.open)


def notifying(tmp: Path, kinds: Mapping[str, tuple[str, ...]], story: Callable[[Store, Notifier], Any]) -> None:
    """Run a story on a store with one project that notifies, beside a notifier at work."""

    async def run(nats: str) -> None:
        bus = await connect(nats, name="test")
        await bus.create_streams()
        store = Shaky(bus)
        await store.commit(Step((Change(Project(slug="shop", notifications=dict(kinds))),)))
        notifier = Notifier(store, tmp, console_url="https://enclii.test", backoff=(0.05,))
        async with in_background(notifier.work(), *notifier.watching()):
            await story(store, notifier)
        await bus.close()

    with running_nats(tmp / "nats") as nats:
        asyncio.run(run(nats))


def test_the_exact_address_is_asked_and_a_redirect_is_a_failure() -> None:
    asked: list[str] = []

    async def take(request: Request) -> Response:
        asked.append(request.scope["raw_path"].decode() + "?" + request.url.query)
        return Response(status_code=307 if "moved" in asked[-1] else 204, headers={"location": "/other"})

    async def story() -> None:
        async with serving(Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])) as url:
            await send(Destination(kind="slack", url=f"{url}/hooks/x?key=abc"), NOTICE, link="l")
            with pytest.raises(Refused, match="moved"):
                await send(Destination(kind="slack", url=f"{url}/moved"), NOTICE, link="l")
        assert asked == ["/hooks/x?key=abc", "/moved?"]

    asyncio.run(story())


def test_a_mail_server_with_an_untrusted_certificate_is_sent_nothing(tmp_path: Path) -> None:
    side, _ = write_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(side / "cert.pem", side / "key.pem")

    async def story() -> None:
        async with mailbox(context) as (mail, letters):
            found = Destination(kind="email", server=mail, tls="tls", sender="e@x.test", to=("a@x.test",))
            with pytest.raises(Unavailable, match="SSLCertVerificationError"):
                await send(found, NOTICE, link="l")  # the handshake ends it: neither letter nor log-in
        assert letters == []

    asyncio.run(story())


def test_a_recovery_waits_for_its_failure_and_both_are_told_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    tried: list[str] = []
    up = asyncio.Event()

    async def take(request: Request) -> Response:
        kind = (await request.json())["type"]
        tried.append(kind)
        if up.is_set():
            told.append(kind)
        return Response(status_code=204 if up.is_set() else 503)

    async def story(store: Store, notifier: Notifier) -> None:
        async with serving(Starlette(routes=[Route("/", take, methods=["POST"])])) as url:
            destination(tmp_path, "hooks", kind="webhook", url=url, secret=SECRET)
            await store.commit(Step((Change(FAILED),)))
            await until(lambda: tried)
            await store.commit(Step((Change(replace(FAILED, id="d-2", status="running", since="10:00")),)))
            await until(lambda: notifier.open == 2)
            before = len(tried)
            await until(lambda: len(tried) > before)
            up.set()
            await until(lambda: not notifier.open)
        assert told == ["enclii.failure", "enclii.recovery"]

    notifying(tmp_path, {"hooks": ("failure", "recovery")}, story)


def test_a_store_that_is_away_at_the_last_try_neither_ends_the_work_nor_loses_the_notice(tmp_path: Path) -> None:
    tried: list[str] = []

    async def take(request: Request) -> Response:
        tried.append(request.headers["webhook-id"])
        Shaky.steps = 3 if len(tried) == TRIES else 0
        return Response(status_code=503)

    async def story(store: Store, notifier: Notifier) -> None:
        Shaky.reads = 3
        async with serving(Starlette(routes=[Route("/", take, methods=["POST"])])) as url:
            destination(tmp_path, "hooks", kind="webhook", url=url, secret=SECRET)
            await store.commit(Step((Change(FAILED),)))
            await until(lambda: len(tried) == TRIES)
            await until(lambda: not notifier.open)
        kept = await store.get(Answer, "notify/hooks", "failure/d-1/failed/")
        assert kept is not None
        assert (kept.record.problem, len(tried)) == ("forge_away", TRIES)

    notifying(tmp_path, {"hooks": ("failure",)}, story)


def test_every_round_of_one_deployment_is_told_and_an_older_run_is_no_recovery(tmp_path: Path) -> None:
    told: list[str] = []

    async def take(request: Request) -> Response:
        told.append((await request.json())["data"]["title"].rpartition("/")[2])
        return Response(status_code=204)

    async def story(store: Store, notifier: Notifier) -> None:
        async with serving(Starlette(routes=[Route("/", take, methods=["POST"])])) as url:
            destination(tmp_path, "hooks", kind="webhook", url=url, secret=SECRET)
            seen = ["degraded", "running", "degraded", "failed"]
            for number, status in enumerate(seen, 1):
                one = replace(FAILED, status=status, since=f"10:0{number}")
                await store.commit(Step((Change(one, None),)))
                await until(lambda number=number: len(told) == number)
            before = replace(FAILED, id="d-0", status="running", since="09:00")  # as a restart reads it again
            await store.commit(Step((Change(before), Change(replace(FAILED, id="d-9", since="10:09")))))
            await until(lambda: len(told) == 5 and not notifier.open)
        assert told == ["web degraded", "web runs again", "web degraded", "web failed", "web failed"]

    notifying(tmp_path, {"hooks": ("failure", "recovery")}, story)


def test_a_destination_that_hangs_delays_no_other(tmp_path: Path) -> None:
    asked: list[str] = []
    other = asyncio.Event()

    async def take(request: Request) -> Response:
        asked.append(request.url.path)
        if request.url.path == "/works":
            other.set()
        await other.wait()  # whoever is told first hangs until the other was told
        return Response(status_code=204)

    async def story(store: Store, notifier: Notifier) -> None:
        async with serving(Starlette(routes=[Route("/{path}", take, methods=["POST"])])) as url:
            for name in ("hangs", "works"):
                destination(tmp_path, name, kind="webhook", url=f"{url}/{name}", secret=SECRET)
            await store.commit(Step((Change(FAILED),)))
            await until(lambda: asked and not notifier.open)
        assert sorted(asked) == ["/hangs", "/works"]  # one after the other, the first would have been given up

    notifying(tmp_path, {"hangs": ("failure",), "works": ("failure",)}, story)
