"""Logouts that the identity provider tells, and what command lines of its people may, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from joserfc import jwk

from console.identity.claims import LOGOUT
from console.web.provider_login import ProviderLogin
from console.web.sessions import Sessions
from pipeline.errors import Unavailable
from tests.integration.browser import Browser
from tests.integration.console_server import Console, with_console
from tests.integration.test_oidc import back, due, providing, with_provider
from tests.integration.test_tokens import logged_in_command_line
from tests.support import provider as fake
from tests.support.provider import running_provider


def test_a_logout_at_the_provider_ends_the_session_here_once(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        provider.claims = {"sid": "s-1"}
        one, other = Browser(console.url), Browser(console.url)
        await back(one, provider)
        provider.claims = {"sid": "s-2"}
        await back(other, provider)
        provider.claims = {}
        said = {"events": {LOGOUT: {}}, "jti": "j-1", "sid": "s-1", "exp": None}
        told = {"logout_token": provider.token(**said)}
        forged = {"logout_token": provider.token(key=jwk.RSAKey.generate_key(2048, {"kid": provider.key.kid}), **said)}

        assert (await one.post("/login/backchannel", forged)).status == 400
        assert (await one.post("/login/backchannel", {"logout_token": provider.token()})).status == 400
        assert (await one.get("/runs")).status == 200
        assert (await Browser(console.url).post("/login/backchannel", told)).status == 200

        assert [(await one.get("/runs")).status, (await other.get("/runs")).status] == [303, 200]
        assert (await Browser(console.url).post("/login/backchannel", told)).status == 400
        everywhere = provider.token(**{**said, "jti": "j-2", "sid": None})
        assert (await one.post("/login/backchannel", {"logout_token": everywhere})).status == 200
        assert (await other.get("/runs")).status == 303

    with_provider(tmp_path, story)


def test_a_command_line_may_what_its_person_may_now_and_ends_with_a_logout_everywhere(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        async def groups(token: str) -> Any:
            found = await Browser(console.url).get("/v1/whoami", Authorization=f"Bearer {token}")
            return json.loads(found.text)["groups"] if found.status == 200 else found.status

        async def logout(**said: str) -> None:
            told = provider.token(events={LOGOUT: {}}, exp=None, **said)
            assert (await Browser(console.url).post("/login/backchannel", {"logout_token": told})).status == 200

        browser = Browser(console.url)
        provider.claims = {"sid": "s-1"}
        await back(browser, provider)
        laptop = await logged_in_command_line(console, browser)
        assert await groups(laptop) == ["developers"]
        provider.claims = {"groups": ["operators"]}
        await due(console, browser)
        await browser.get("/runs")
        assert await groups(laptop) == ["operators"]
        provider.claims = {}
        await logout(jti="j-1", sid="s-1")
        assert ((await browser.get("/runs")).status, await groups(laptop)) == (303, ["operators"])
        await logout(jti="j-2")
        assert await groups(laptop) == 401
        await back(browser, provider)
        assert await groups(laptop) == 401
        assert await groups(await logged_in_command_line(console, browser)) == ["developers"]

    with_provider(tmp_path, story)


def test_a_token_of_an_issuer_opens_no_page(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        request = Request(
            f"{console.url}/v1/logins", b"{}",
            {"Authorization": f"Bearer {provider.token()}", "Content-Type": "application/json"},
        )  # fmt: skip

        with pytest.raises(HTTPError) as refused:
            await asyncio.to_thread(urlopen, request)

        assert (refused.value.code, json.load(refused.value)["reason_code"]) == (403, "not_by_this_token")

    with_provider(tmp_path, story)


class Interrupted(Sessions):
    """Sessions of a console that dies once, before it ended any."""

    died = False

    async def end_all_of(self, *, issuer: str, subject: str, provider_session: str) -> int:
        if not self.died:
            self.died = True
            raise Unavailable("the event store went away", reason="store_away")
        return await super().end_all_of(issuer=issuer, subject=subject, provider_session=provider_session)


def test_a_logout_whose_answer_was_lost_is_told_again_and_ends_the_session(tmp_path: Path) -> None:
    with running_provider() as provider:
        made: Callable[[Sessions], ProviderLogin] = providing(provider.url)

        async def story(console: Console) -> None:
            browser = Browser(console.url)
            await back(browser, provider)
            said = {"events": {LOGOUT: {}}, "jti": "j-1", "exp": None}
            told = {"logout_token": provider.token(**said)}

            assert (await Browser(console.url).post("/login/backchannel", told)).status == 503
            assert (await browser.get("/runs")).status == 200
            assert (await Browser(console.url).post("/login/backchannel", told)).status == 200
            assert (await browser.get("/runs")).status == 303

        def interrupted(sessions: Sessions) -> ProviderLogin:
            return made(Interrupted(sessions._bus, lifetime=3600.0))

        with_console(tmp_path, story, providing=interrupted)
