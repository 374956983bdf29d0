"""Logs to be kept and narrowed, and the forms that try again and act on previews."""

from __future__ import annotations

import html
import json
import re
import time
from pathlib import Path

from gitops.clusters import LogLine
from pipeline.names import token
from pipeline.previews import Preview
from tests.integration import console_records as data
from tests.integration.browser import Browser, logged_in
from tests.integration.console_server import Console, with_console

WEB = "/services/shop/production/web"


async def shop(console: Console) -> Browser:
    await console.put(*data.shop())
    return await logged_in(console)


def test_a_log_is_kept_whole_as_a_file(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        await console.put(data.run(3, "running"), data.job(3, "building"))
        line = json.dumps({"t": data.AT1, "s": "stdout", "l": "<b>" + "z" * 100_000})
        await console.store.bus.append(f"log.build.{token('r-3', 'web')}", line.encode())
        console.logs.lines = [LogLine(10**18 + n, "web.1", f"v{1 + n // 5}", "stdout", b"%d" % n) for n in range(10)]

        built = await browser.get("/runs/r-3/log?service=web")
        whole, old = [await browser.get(f"{WEB}/logs/text{query}") for query in ("", "?release=v1")]

        assert built.text == f"{data.AT1} <b>{'z' * 100_000}\n"
        assert built.headers["content-disposition"] == 'attachment; filename="r-3-web.log"'
        assert built.headers["content-type"] == "text/plain; charset=utf-8"
        assert [one.text.count("\n") for one in (whole, old)] == [10, 5]

    with_console(tmp_path, story)


def test_the_lines_of_a_time_and_of_a_release_are_shown(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        now = time.time_ns()
        console.logs.lines = [
            LogLine(now - age * 10**9, "web.1", f"v{of}", "stdout", f"[{age}]".encode())
            for age, of in ((7200, 1), (600, 1), (30, 2), (20, 1))
        ]

        found = [
            re.findall(r"\[(\d+)\]", (await browser.get(f"{WEB}/logs?{query}")).text)
            for query in ("until=5m", "until=5m&release=v2", "release=v1", "release=2")
        ]
        await browser.get(f"{WEB}/logs?since=1h")
        since = console.logs.asked[-1]["since"].timestamp() * 1e9
        wrong = [await browser.get(f"{WEB}/logs?{query}") for query in ("since=soon", "release=%3Cb%3E")]

        assert found == [["7200", "600"], [], ["7200", "600", "20"], ["30"]]
        assert now - 3600 * 10**9 <= since <= time.time_ns() - 3600 * 10**9
        assert [one.status for one in wrong] == [400, 400]

    with_console(tmp_path, story)


def test_what_failed_can_be_tried_again_by_a_form(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        await console.put(data.run(3, "failed"), data.job(3, "failed"))

        sent = await browser.submit("/runs/r-3", "/act/deploy")

        events = await console.store.bus.scan("ev.deploy.requested.>")
        asked = [json.loads(one.data) for one in events]
        assert (sent.status, [(one["sha"], one["environment"]) for one in asked]) == (303, [(data.SHA2, "production")])
        assert "/act/deploy" not in (await browser.get("/runs/r-2")).text

    with_console(tmp_path, story)


def test_a_preview_is_extended_ended_and_let_in_by_its_forms(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        preview = Preview(
            id="shop.preview-7", project="shop", repository="local:shop/shop", number=7, environment="preview-7",
            state="ready", sha=data.SHA2, fork=True, created_at=data.AT2, active_at=data.AT2,
        )  # fmt: skip
        await console.put(preview)
        page = html.unescape((await browser.get("/previews")).text)

        for verb in ("extend", "restart", "down"):
            await browser.submit("/previews", "/act/preview", verb=verb, hours="24")
        await browser.submit("/previews", "/act/approval")
        wrong = await browser.submit("/previews", "/act/preview", verb="extend", hours="ever")

        events = await console.store.bus.scan("ev.preview.requested.>")
        asked = [json.loads(one.data) for one in events]
        assert [(one["verb"], one.get("seconds", 0.0)) for one in asked] == [
            ("extend", 86_400.0), ("restart", 0.0), ("down", 0.0), ("approve", 0.0),
        ]  # fmt: skip
        assert [(one["number"], one["repository"]) for one in asked] == [(7, "local:shop/shop")] * 4
        assert (asked[3]["sha"], wrong.status) == (data.SHA2, 400)
        for said in ("enclii preview extend 7 24h -p shop", "/preview down", f"/preview approve {data.SHA2}"):
            assert said in page

    with_console(tmp_path, story)
