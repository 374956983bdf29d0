"""The pages over the real projection: what they show, what their forms publish, and what a log cannot do to them."""

from __future__ import annotations

import asyncio
import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from console import forge_health
from console.client import Client, Failure
from console.projection import Projection
from gitops.clusters import LogLine
from pipeline.answers import APP_HEALTH, Answer
from pipeline.events import HoldRequested, PromotionReviewed, RollbackRequested, decode
from pipeline.names import token
from pipeline.promotions import Member, Promotion
from pipeline.records import Decision, Parked
from pipeline.store import Store
from tests.integration import console_records as data
from tests.integration.browser import Browser, logged_in
from tests.integration.console_server import Console, with_console

WEB = "/services/shop/production/web"
LIMIT = 100_000


async def shop(console: Console) -> Browser:
    await console.put(*data.shop())
    return await logged_in(console)


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("/", ["shop/production web", "v2", "2/2", "healthy", "/runs/r-2"]),
        (WEB, ["web.1", "web.2", "running", "enclii hold -p shop -e production -s web", "http://web.localhost:7080"]),
        (f"{WEB}/releases", ["v1", "v2", "live", "enclii deploy"]),
        (f"{WEB}/releases?from=v1&to=v2", ["v1 → v2", "aaaaaaaaaaaa", "bbbbbbbbbbbb", "A change"]),
        (f"{WEB}/rollback", ["v2 → v1", "enclii rollback --to v1 -p shop -e production -s web"]),
        (f"{WEB}/secrets", ["Values are in the cluster alone"]),
        (f"{WEB}/logs", ["No lines yet", "enclii logs -f"]),
        ("/runs", ["r-1", "r-2", "A change"]),
        ("/why?about=r-2", ["Why r-2", "enclii why r-2"]),
        ("/settings", ["Roles:", "Notifications:", "enclii retention"]),
        ("/queue?holds=1", ["Nothing is held", "enclii api GET /v1/holds"]),
        (f"{WEB}/releases?available=1", ["v1", "v2", "enclii releases"]),
        ("/runs/r-2", ["deployed", "222222222222", "production web", "/why?q=r-2"]),
        ("/why?q=r-2", ["shop.web.v2", "d-2"]),
        ("/decisions", ["None yet"]),
        ("/promotions", ["Nothing is on its way"]),
        ("/queue", ["Nothing waits", "Parked: 0"]),
        ("/settings", ["production", "from the branch next", "http://h/shop/shop.git"]),
    ],
)
def test_a_page_shows_what_the_store_says(tmp_path: Path, path: str, texts: list[str]) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)

        answer = await browser.get(path)

        shown = html.unescape(answer.text)
        assert answer.status == 200
        assert [text for text in texts if text not in shown] == []
        assert len(answer.text) < LIMIT

    with_console(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/runs/r-none", 404, "no run"),
        ("/services/shop/production/wep", 404, "did you mean web?"),
        ("/services/shop/nowhere/web", 404, "no environment"),
        (f"{WEB}/releases?from=x&to=2", 400, "a whole number"),
        (f"{WEB}/releases?from=1&to=77", 404, "no release v77"),
        ("/why?q=nothing-of-that", 404, "nothing is known"),
        ("/commands/c-none", 404, "no command"),
        ("/runs/r-2?service=%3Cb%3E", 400, "service: one of web"),
    ],
)
def test_what_is_not_there_is_told_on_a_page(tmp_path: Path, path: str, status: int, text: str) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)

        answer = await browser.get(path)

        assert (answer.status, text in html.unescape(answer.text)) == (status, True)

    with_console(tmp_path, story)


def test_nothing_on_a_page_runs_but_our_own_file(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)

        pages = [(await browser.get(path)).text for path in ("/", WEB, "/runs/r-2", f"{WEB}/logs", "/settings")]

        for page in pages:
            assert re.findall(r"<script[^>]*>", page) == re.findall(
                r'<script type="module" src="/static/live.js[^"]*">', page
            )
            assert not re.search(r"\son\w+=|\sstyle=|<style|https?://(?!h/|web\.localhost|127\.0\.0\.1)[^\"<]+\"", page)

    with_console(tmp_path, story)


def test_the_rollback_button_publishes_what_the_plan_showed(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)

        answer = await browser.submit(f"{WEB}/rollback", "/act/rollback", why="checkout <500s>")

        command = answer.location.removeprefix("/commands/")
        entry = await console.store.bus.get(f"ev.rollback.requested.{token(command)}")
        assert answer.status == 303
        assert entry is not None
        event = decode("rollback.requested", entry.data)
        assert isinstance(event, RollbackRequested)
        assert (event.to, event.expected, event.hold, event.actor) == (1, "d-2", True, "deployer")
        assert event.why == "checkout <500s>"

    with_console(tmp_path, story)


def test_the_same_form_sent_twice_is_one_command(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        page = (await browser.get(WEB)).text
        form = re.search(r'action="/act/hold".*?</form>', page, re.DOTALL)
        assert form is not None
        fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form[0]))

        first, second = [await browser.post("/act/hold", fields) for _ in range(2)]

        assert first.location == second.location
        held = await console.store.bus.scan("ev.hold.requested.>")
        assert [type(decode("hold.requested", one.data)) for one in held] == [HoldRequested]

    with_console(tmp_path, story)


def test_a_command_shows_how_it_was_decided(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        await console.put(
            Decision(id="c-1", about="command", outcome="refused", reason="nothing_older", message="No <i>.")
        )

        answer = await browser.get("/commands/c-1")

        assert "nothing_older" in answer.text
        assert "No &lt;i&gt;." in answer.text

    with_console(tmp_path, story)


def test_a_promotion_is_approved_by_its_form(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        member = Member(service="web", release="shop.web.v2", image=data.IMAGE2)
        await console.put(
            Promotion(id="p-1", command="c-9", project="shop", source="staging", environment="production",
                      members=(member,), status="proposed", reason="needs_approval", created_at=data.AT1, pull=7,
                      pull_url="https://forge.example/enclii/config/pull/7")
        )  # fmt: skip
        page = (await browser.get("/promotions")).text
        assert '<a href="https://forge.example/enclii/config/pull/7">Pull request 7</a>' in page

        answer = await browser.submit("/promotions", "/act/review", verdict="approved")

        assert answer.status == 303
        (entry,) = await console.store.bus.scan("ev.promotion.reviewed.>")
        event = decode("promotion.reviewed", entry.data)
        assert isinstance(event, PromotionReviewed)
        assert (event.promotion, event.verdict, event.actor) == ("p-1", "approved", "deployer")

    with_console(tmp_path, story)


def test_a_parked_event_is_dropped_by_its_form(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        parked = Parked(id="k-1", consumer="builder", subject_parked="ev.x", event_type="build.requested",
                        reason="boom",
                        message="<img src=x onerror=alert(1)>", attempts=9, at=data.AT1)  # fmt: skip
        await console.put(parked)

        shown = (await browser.get("/queue")).text
        answer = await browser.submit("/queue", "/parked/k-1/drop")

        assert "&lt;img src=x" in shown
        assert "<img" not in shown
        assert (answer.status, answer.location) == (303, "/queue")
        stored = await console.store.get(Parked, "k-1")
        assert stored is not None
        assert stored.record.state == "dropped"

    with_console(tmp_path, story)


def test_a_log_can_neither_act_in_the_page_nor_make_it_endless(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        bad = [
            b"<script>alert(1)</script>",
            b"\x1b[31mred\x1b[0m\x1b]0;x\x07",
            b"\xff\x00\xfe",
            b"z" * 1_000_000,
            b"<" * 5_000,
        ]
        console.logs.lines = [
            LogLine(time=10**18 + n, replica="web-1", release="v2", stream="stdout", text=text)
            for n, text in enumerate(bad * 40)
        ]

        answer = await browser.get(f"{WEB}/logs")

        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;alert(1)" in answer.text
        assert "\x1b" not in answer.text
        assert "\x00" not in answer.text
        assert "more characters" in answer.text
        assert len(answer.text.encode()) < LIMIT

    with_console(tmp_path, story)


def test_a_build_log_goes_on_live_where_the_page_ended(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        await console.put(data.run(3, "running"), data.job(3, "building"))
        subject = f"log.build.{token('r-3', 'web')}"
        lines = [json.dumps({"t": data.AT1, "s": "stdout", "p": "1", "l": f"line {n}"}) for n in range(4)]
        await console.store.bus.append(subject, "\n".join(lines[:2]).encode())
        page = html.unescape((await browser.get("/runs/r-3")).text)
        await console.store.bus.append(subject, "\n".join([*lines[2:], json.dumps({"end": "failed"})]).encode())
        found = re.search(r'data-live="([^"]+)"', page)
        assert found is not None

        streamed = await browser.first_events(found[1], 2)

        assert "line 0" in page
        assert "line 1" in page
        assert [json.loads(data)["text"] for data in streamed] == ["line 2", "line 3"]

    with_console(tmp_path, story)


def test_those_who_look_at_one_run_share_the_reader_of_its_log(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        await console.put(data.run(3, "running"), data.job(3, "building"))
        subject = f"log.build.{token('r-3', 'web')}"
        line = json.dumps({"t": data.AT1, "s": "stdout", "p": "1", "l": "<b>line</b>"})
        await console.store.bus.append(subject, line.encode())

        async with asyncio.TaskGroup() as group:
            both = [group.create_task(browser.first_events("/runs/r-3/live?service=web", 1)) for _ in range(2)]

        assert [[json.loads(one)["text"] for one in task.result()] for task in both] == [["<b>line</b>"]] * 2

    with_console(tmp_path, story)


def test_the_queue_shows_an_old_job_that_is_stuck_and_none_that_is_over(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        await console.put(data.run(3, "running"), data.job(3, "signing"), data.run(4, "failed"), data.job(4, "failed"))

        shown = (await browser.get("/queue")).text

        assert "At work and waiting: 1" in shown
        assert ("/runs/r-3?service=web" in shown, "/runs/r-4?service=web" in shown) == (True, False)

    with_console(tmp_path, story)


def test_a_stream_tells_who_is_not_logged_in_by_its_status(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        answer = await Browser(console.url).get("/live", Accept="text/event-stream")

        assert answer.status == 401

    with_console(tmp_path, story)


def test_the_overview_finds_a_service_among_many_and_shows_fifty_a_page(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await shop(console)
        many = [data.target(2, data.IMAGE2, data.SHA2, service=f"worker-{number:02}") for number in range(60)]
        await console.put(*many)

        first, second = [(await browser.get(f"/?page={page}")).text for page in (1, 2)]
        found = (await browser.get("/?q=worker-59")).text

        assert "61 in all" in first
        assert ("worker-49" in first, "worker-50" in first) == (False, False)
        assert "worker-59" in second
        assert "1 in all" in found
        assert "shop/production worker-59" in found

    with_console(tmp_path, story)


def test_a_token_is_made_shown_once_and_revoked_by_its_forms(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        browser = await logged_in(console)
        made = await browser.submit("/tokens", "/tokens", name="ci", role="viewer", project="shop", days="30")
        text = re.search(r'<code id="made">(enclii_[^<]+)</code>', made.text)
        assert text is not None
        number = (await console.get("/v1/tokens"))["tokens"][0]["id"]
        first = Client(console.url, text[1])
        assert (await asyncio.to_thread(first.get, "/v1/whoami", {}))["name"] == "token:ci"
        page = await browser.get("/tokens")
        assert (text[1] in page.text, number in page.text, "None is set" in page.text) == (False, True, True)
        assert (await browser.submit("/tokens", f"/tokens/{number}/revoke")).location == "/tokens"
        with pytest.raises(Failure):
            await asyncio.to_thread(first.get, "/v1/whoami", {})

    with_console(tmp_path, story)


def test_a_write_shows_its_comment_beside_its_command(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        browser = await logged_in(console)
        service = (await browser.get("/services/shop/production/web")).text
        back = (await browser.get("/services/shop/production/web/rollback?to=1")).text
        assert "<code>/hold production &#34;reason&#34;</code>" in service
        assert "<code>/rollback production --to v1</code>" in back

    with_console(tmp_path, story)


def test_the_settings_say_what_the_app_at_the_forge_lacks(tmp_path: Path) -> None:
    def faces(projection: Projection, store: Store) -> dict[str, Any]:
        async def doctor() -> list[dict[str, str]]:
            return [dataclasses.asdict(one) for one in await forge_health.checks(projection, store)]

        return {"doctor": doctor}

    async def story(console: Console) -> None:
        repository, about = APP_HEALTH
        lacks = Answer(repository=repository, about=about, problem="permission checks: write, event deployment")
        browser = await shop(console)
        assert "GitHub App" not in (await browser.get("/settings")).text
        await console.put(lacks)
        told = html.unescape((await browser.get("/settings")).text)
        assert "lacks permission checks: write, event deployment" in told
        assert "the App's settings on GitHub" in told
        await console.put(replace(lacks, problem=""))
        assert "has every permission and event" in (await browser.get("/settings")).text

    with_console(tmp_path, story, faces=faces)
