"""The pages in a real browser: looked at in both themes, by keyboard and phone, judged by axe, and used."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gitops.clusters import LogLine
from pipeline.previews import Preview
from pipeline.records import Decision, Parked, Record
from tests.integration import console_records as data
from tests.integration.browser import invited
from tests.integration.console_server import Console, with_console
from tests.support.chromium import browser, picture, violations

PLACE = "/services/shop/production/web"
PAGES = {
    "overview": "/", "service": PLACE, "releases": f"{PLACE}/releases?from=1&to=2",
    "rollback": f"{PLACE}/rollback?to=1",
    "logs": f"{PLACE}/logs", "secrets": f"{PLACE}/secrets", "runs": "/runs", "run": "/runs/r-2",
    "decisions": "/decisions", "why": "/why?q=r-2", "promotions": "/promotions", "previews": "/previews",
    "holds": "/queue?holds=1", "figures": "/figures", "service-figures": "/figures?project=shop", "queue": "/queue",
    "audit": "/audit", "settings": "/settings", "tokens": "/tokens", "setup": "/setup", "device": "/device",
    "missing": "/runs/none",
}  # fmt: skip
HOSTILE = b"\x1b[31mred\x1b[0m <img src=x onerror=alert(1)> \xff\x00" + b"long " * 1_000


def shop() -> list[Record]:
    """The shop with enough history for pictures, and something in every list."""
    found = data.shop()
    now = datetime.datetime.now(datetime.UTC)
    for number in range(12):
        at = (now - datetime.timedelta(days=2 * number, hours=1)).isoformat(timespec="seconds").replace("+00:00", "Z")
        old = data.deployment(1, data.IMAGE1, data.SHA1, at, "failed" if number % 4 == 2 else "replaced")
        found.append(replace(old, id=f"d-old-{number}"))
    found.append(Parked(id="p-1", consumer="planner", subject_parked="x", event_type="delivery.received", attempts=5,
                        reason="no_dockerfile", message="there is no Dockerfile", at=data.AT2))  # fmt: skip
    found.append(Preview(id="shop.preview-7", project="shop", repository="local:shop/shop", number=7, state="ready",
                         sha=data.SHA2, fork=True, created_at=data.AT2, active_at=data.AT2))  # fmt: skip
    found.append(Decision(id="del-1", about="delivery", outcome="accepted", reason="planned", message="planned as r-2",
                          project="shop", actor="ada", at=data.AT2, run="r-2"))  # fmt: skip
    return found


def with_page(tmp: Path, story: Callable[[Console, Any, Any], Awaitable[None]], **how: Any) -> None:
    """Run ``story`` with a page that is logged in, in a browser beside a console."""

    async def go(console: Console) -> None:
        await console.put(*shop())
        console.logs.lines = [
            LogLine(time=1_700_000_000_000_000_000 + number, replica="web.1", release="v2", stream="stdout", text=text)
            for number, text in enumerate([*(f"line {n}".encode() for n in range(19)), HOSTILE])
        ]
        async with browser() as found:
            context = await found.new_context(base_url=console.url, **how)
            page = await context.new_page()
            page.set_default_timeout(60_000)
            await page.goto(await invited(console))
            await story(console, context, page)
            await context.close()

    with_console(tmp, go)


def test_every_page_is_legible_to_all_in_both_themes_and_on_a_phone(tmp_path: Path) -> None:
    async def story(console: Console, context: Any, page: Any) -> None:
        wrong: dict[str, list[str]] = {}
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: said.append("a dialog was opened"))
        for name, address in PAGES.items():
            await page.set_viewport_size({"width": 1280, "height": 800})
            await page.goto(address)
            for theme in ("light", "dark"):
                await page.emulate_media(color_scheme=theme)
                if found := await violations(page):
                    wrong[f"{name} {theme}"] = found
                await picture(page, f"{name}-{theme}")
            await page.set_viewport_size({"width": 360, "height": 740})
            width = await page.evaluate("document.documentElement.scrollWidth")
            if width > 360:
                wrong[f"{name} phone"] = [f"{width} pixels wide"]
        assert wrong == {}
        assert [one for one in said if "404" not in one] == []

    with_page(tmp_path, story)


def test_a_rollback_is_clicked_by_keyboard_and_shows_how_it_was_decided(tmp_path: Path) -> None:
    async def story(console: Console, context: Any, page: Any) -> None:
        await page.goto(f"{PLACE}/rollback?to=1")
        await page.get_by_label("Reason, kept in git").fill("it is broken")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/commands/**")
        events = await console.store.bus.scan("ev.rollback.requested.>")
        assert [b'"why":"it is broken"' in one.data for one in events] == [True]

    with_page(tmp_path, story)


def test_a_login_that_ends_in_an_open_page_loses_nothing_that_was_typed(tmp_path: Path) -> None:
    async def story(console: Console, context: Any, page: Any) -> None:
        await page.goto(PLACE)
        reason = page.locator("#why-hold")
        await reason.fill("a long reason")
        cookies = await context.cookies()
        await context.clear_cookies()
        await page.locator("form[action='/act/hold'] button").click()
        await page.locator("#ended").wait_for(state="visible")
        assert (await reason.input_value(), page.url.endswith(PLACE)) == ("a long reason", True)
        assert await violations(page) == []
        other = await context.new_page()
        await other.goto(await invited(console))
        assert (await context.cookies())[0]["value"] != cookies[0]["value"]
        await page.locator("#resume").click()
        await page.locator("#ended").wait_for(state="hidden")
        await page.locator("form[action='/act/hold'] button").click()
        await page.wait_for_url("**/commands/**")
        events = await console.store.bus.scan("ev.hold.requested.>")
        assert [b"a long reason" in one.data for one in events] == [True]
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url("**/login")
        await page.goto("/runs")
        assert "/login" in page.url

    with_page(tmp_path, story)


def test_without_javascript_every_page_reads_the_same(tmp_path: Path) -> None:
    async def story(console: Console, context: Any, page: Any) -> None:
        for name, address in PAGES.items():
            answer = await page.goto(address)
            assert (name, answer.status) == (name, 404 if name == "missing" else 200)
            assert await page.locator("main h1").count() == 1
        await page.goto(f"{PLACE}/logs")
        text = await page.locator("#log").inner_text()
        assert ("line 18" in text, "<img src=x onerror=alert(1)>" in text, "\x1b" in text) == (True, True, False)

    with_page(tmp_path, story, java_script_enabled=False)


def test_a_page_follows_what_happens_and_a_log(tmp_path: Path) -> None:
    async def story(console: Console, context: Any, page: Any) -> None:
        await page.goto("/runs")
        await console.put(data.run(7, "running"))
        await page.get_by_role("link", name="r-7").wait_for()
        await page.goto(f"{PLACE}/logs")
        assert await page.locator("#log li").count() == 20
        assert await page.locator("#log img").count() == 0
        await page.keyboard.press("/")
        assert await page.evaluate("document.activeElement.id") == "q"
        await page.get_by_label("Find").fill("LINE 1")
        await page.get_by_text("10 of 20 lines").wait_for()
        assert await page.locator("#log li:visible").count() == 10
        await page.get_by_label("times").uncheck()
        assert await page.locator("#log time:visible").count() == 0

    with_page(tmp_path, story)
