"""The pages' door in front of a real event store: who comes in, how often, from where, and who is put out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.routing import Route

from console.web.acts import Acts
from console.web.live import Live
from console.web.login import Login
from console.web.pages import Pages
from console.web.preview_page import PreviewPage
from console.web.security import HEADERS
from console.web.sessions import Sessions, form_token
from pipeline.access import Principal
from tests.integration import console_records as data
from tests.integration.browser import Browser, invited, logged_in
from tests.integration.console_server import Console, with_console

SESSION = "enclii-80"


def every_route() -> list[Route]:
    """All pages, with nothing behind them: only their addresses are asked for."""
    nothing: dict[str, None] = {}
    login = Login(nothing, console_url="http://h")  # type: ignore[arg-type]
    pages = Pages(nothing, None, None)  # type: ignore[arg-type]
    live = Live(nothing, nothing, nothing, nothing)  # type: ignore[arg-type]
    acts = Acts(nothing, nothing)  # type: ignore[arg-type]
    previews = PreviewPage(nothing, nothing)  # type: ignore[arg-type]
    routes = [*login.routes(), *pages.routes(), *live.routes(), *acts.routes(), *previews.routes()]
    return [route for route in routes if route.path != "/login"]


def path_of(route: Route) -> str:
    return route.path_format.format(
        project="shop", environment="production", service="web", id="r-1", verb="retry", name="style.css"
    )


def method_of(route: Route) -> str:
    return "POST" if "POST" in (route.methods or ()) else "GET"


def test_every_page_and_form_sends_who_is_not_logged_in_to_the_login(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        browser = Browser(console.url, {SESSION: "made-up"})

        answers = [await browser.get(path_of(route), method_of(route)) for route in every_route()]

        assert len(answers) > 20
        assert {answer.status for answer in answers} == {303}
        assert all(answer.location.startswith("/login") and not answer.text for answer in answers)

    with_console(tmp_path, story)


def test_every_form_refuses_without_its_token(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await logged_in(console)
        wrong = form_token("another session")
        writing = [path_of(route) for route in every_route() if method_of(route) == "POST"]

        answers = [await browser.post(path, fields) for path in writing for fields in ({}, {"csrf": wrong})]

        assert len(writing) >= 9
        assert {answer.status for answer in answers} == {403}
        assert all("bad_form_token" in answer.text for answer in answers)

    with_console(tmp_path, story)


def test_a_form_that_another_site_sends_is_refused(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await logged_in(console)
        token = form_token(browser.cookies[SESSION])

        answer = await browser.post("/logout", {"csrf": token}, **{"Sec-Fetch-Site": "cross-site"})

        assert (answer.status, "cross_site" in answer.text) == (403, True)
        assert (await browser.get("/")).status == 200

    with_console(tmp_path, story)


def test_a_login_address_works_once_also_for_two_at_the_same_moment(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        address = await invited(console)
        browsers = [Browser(console.url) for _ in range(5)]

        answers = await asyncio.gather(*(browser.get(address) for browser in browsers))

        assert sorted(answer.status for answer in answers) == [303, 403, 403, 403, 403]
        assert [bool(b.cookies.get(SESSION)) for b in browsers] == [a.status == 303 for a in answers]

    with_console(tmp_path, story)


def test_looking_a_login_address_up_does_not_use_it(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        address = await invited(console)

        looked = await Browser(console.url).get(address, "HEAD")

        assert (looked.status, looked.cookies.output()) == (200, "")
        assert (await Browser(console.url).get(address)).status == 303

    with_console(tmp_path, story)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        answer = await Browser(console.url).get(await invited(console))

        cookie = answer.cookies[SESSION]
        assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (True, "lax", "/")
        assert cookie["secure"] == ""
        assert int(cookie["max-age"]) in range(3_000, 3_601)

    with_console(tmp_path, story)


def test_a_session_id_that_was_there_before_the_login_is_worth_nothing_after_it(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        planted = "A" * 43
        browser = Browser(console.url, {SESSION: planted})

        await browser.get(await invited(console))

        assert browser.cookies[SESSION] != planted
        assert (await browser.get("/")).status == 200
        assert (await Browser(console.url, {SESSION: planted}).get("/")).status == 303

    with_console(tmp_path, story)


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test/", "/\\evil.test", "/%5Cevil.test\n"])
def test_a_login_leads_nowhere_else(tmp_path: Path, elsewhere: str) -> None:
    async def story(console: Console) -> None:
        address = f"{await invited(console)}&next={quote(elsewhere, safe='')}"

        answer = await Browser(console.url).get(address)

        assert (answer.status, answer.location) == (303, "/")
        refused = await console.failure_of("/v1/logins", {"next": elsewhere})
        assert refused.reason == "bad_field"

    with_console(tmp_path, story)


def test_who_came_for_a_page_gets_there_after_the_login(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        browser = Browser(console.url)

        sent = await browser.get("/runs/r-2")
        shown = await browser.get(sent.location)
        answer = await browser.get(await invited(console))

        assert "enclii open" in shown.text
        assert answer.location == "/runs/r-2"
        assert (await browser.get(answer.location)).status == 200
        assert (await browser.get(await invited(console, next="/queue"))).location == "/queue"

    with_console(tmp_path, story)


def test_logging_out_ends_the_session_at_the_server(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await logged_in(console)
        kept = Browser(console.url, dict(browser.cookies))

        answer = await browser.submit("/", "/logout")

        assert (answer.status, answer.location) == (303, "/login")
        assert SESSION not in browser.cookies
        assert (await kept.get("/")).status == 303

    with_console(tmp_path, story)


def test_a_session_is_known_to_every_replica_and_ends_by_time(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        now = [1_000.0]
        one, other = (Sessions(console.store.bus, lifetime=60.0, clock=lambda: now[0]) for _ in range(2))

        session, _ = await one.accept(await one.invite(Principal(name="ada")))
        before = await other.find(session)
        now[0] += 61.0

        assert before is not None
        assert before.actor == "ada"
        assert await other.find(session) is None

    with_console(tmp_path, story)


def test_an_invitation_gets_too_old(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        now = [1_000.0]
        sessions = Sessions(console.store.bus, lifetime=60.0, clock=lambda: now[0])
        code = await sessions.invite(Principal(name="ada"))
        now[0] += 901.0

        with pytest.raises(Exception, match="too old"):
            await sessions.accept(code)

    with_console(tmp_path, story)


def test_the_store_holds_neither_codes_nor_session_ids(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await logged_in(console)

        stored = await console.store.bus.scan("web.>")

        assert len(stored) == 2
        assert not any(browser.cookies[SESSION].encode() in e.subject.encode() + e.data for e in stored)

    with_console(tmp_path, story)


def test_guessing_login_addresses_is_slowed_down(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = Browser(console.url)

        answers = [await browser.get(f"/login?once=guess-{number}") for number in range(12)]

        assert [answer.status for answer in answers] == [403] * 10 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) in range(1, 61)

    with_console(tmp_path, story)


def test_every_kind_of_answer_carries_the_headers(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await logged_in(console)

        answers = [await browser.get(path) for path in ("/", "/login", "/nothing", "/static/style.css")]
        answers.append(await Browser(console.url).get("/"))

        for answer in answers:
            assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert "unsafe" not in HEADERS["Content-Security-Policy"]

    with_console(tmp_path, story)


def test_a_cookie_does_not_open_the_api_nor_a_token_the_pages(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        browser = await logged_in(console)
        token = {"Authorization": "Bearer the-token-of-a-test"}

        assert (await browser.get("/v1/projects")).status == 401
        assert (await Browser(console.url).get("/", **token)).status == 303

    with_console(tmp_path, story)
