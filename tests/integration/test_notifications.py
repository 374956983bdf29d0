"""Notifications on a real store, to a web server and a mail server: each once, whatever fails or ends meanwhile."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gitops.forge.destinations import signature
from gitops.forge.notifying import Notifier
from pipeline.bus import connect
from pipeline.main import in_background
from pipeline.records import Deployment, Project
from pipeline.store import Change, Step, Store
from tests.support.nats import running_nats
from tests.support.serving import serving

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes!").decode()
FAILED = Deployment(
    id="d-1", project="shop", environment="production", service="web", release="shop.web.v2", image="i",
    status="failed", reason="unhealthy", message="/healthz answers 500", config_commit="c",
)  # fmt: skip


async def until(question: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not question():  # noqa: ASYNC110 - the other side's state
            await asyncio.sleep(0.02)


@asynccontextmanager
async def mailbox() -> AsyncIterator[tuple[str, list[str]]]:
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

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
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


async def notified(store: Store, folder: Path, done: Callable[[], Any]) -> None:
    """One life of the process that notifies, until something is done and nothing is left to do."""
    notifier = Notifier(store, folder, console_url="https://enclii.test", backoff=(0.05,))
    async with in_background(notifier.work(), *notifier.watching()):
        await until(done)
        await until(lambda: not notifier.open)
