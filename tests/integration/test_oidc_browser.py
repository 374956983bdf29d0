"""A person with a real browser at an identity provider: in, out of an open page that has expired, and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from console.web.sessions import Sessions
from tests.integration import console_records as data
from tests.integration.console_server import PAGES, Console, with_console
from tests.integration.test_oidc import SESSION, providing
from tests.support.chromium import browser
from tests.support.provider import friendly_provider

PLACE = f"{PAGES}/services/shop/production/web"


def resolving(console: str) -> str:
    """The console by the name that the provider sends the browser back to, and nothing from elsewhere."""
    name = urlsplit(PAGES).hostname
    return f"--host-resolver-rules=MAP {name}:80 {urlsplit(console).netloc}, MAP * ~NOTFOUND, EXCLUDE localhost"


async def says_yes(page: Any) -> None:
    """Choose the provider on the login page, and tell it who one is."""
    await page.get_by_role("link", name="Log in with").click()
    await page.get_by_placeholder("sub").fill("u-1")
    await page.get_by_role("button", name="Authorize").click()


def test_a_browser_logs_in_at_the_provider_survives_an_expiry_and_logs_out_there_too(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        async with browser(resolving(console.url)) as found:
            context = await found.new_context()
            page = await context.new_page()
            page.set_default_timeout(60_000)
            await page.goto(PLACE)
            await says_yes(page)
            await page.wait_for_url(PLACE)
            assert await page.locator("header .who span").inner_text() == "ada"
            cookie = next(one for one in await context.cookies() if one["name"] == SESSION)
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")

            await page.locator("#why-hold").fill("a long reason")
            await Sessions(console.store.bus, lifetime=60).end(cookie["value"])
            await page.locator("form[action='/act/hold'] button").click()
            await page.locator("#ended").wait_for(state="visible")
            async with context.expect_page() as opened:
                await page.get_by_role("link", name="Log in in a new tab").click()
            other = await opened.value
            await says_yes(other)
            await other.wait_for_url(f"{PAGES}/")
            await page.locator("#resume").click()
            await page.locator("#ended").wait_for(state="hidden")
            assert await page.locator("#why-hold").input_value() == "a long reason"

            await page.get_by_role("button", name="Log out").click()
            await page.get_by_role("button", name="End session").click()
            await page.wait_for_url(f"{PAGES}/login")
            await page.goto(PLACE)
            assert "/login?next=" in page.url
            await context.close()

    with friendly_provider() as provider:
        known = b'{"preferred_username": "ada"}'
        with urlopen(Request(f"{provider}/users/u-1", known, {"Content-Type": "application/json"}, method="PUT")):
            pass
        with_console(tmp_path, story, providing=providing(provider))
