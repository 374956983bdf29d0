"""Logging in at an identity provider over HTTP: a friendly one from PyPI, and one that lies in every way."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

import msgspec
import pytest
from joserfc import jwk

from console.identity.bearers import Bearers
from console.identity.claims import LOGOUT, Naming
from console.identity.issuer import Issuer
from console.identity.provider import Provider
from console.identity.renewal import Renewal
from console.web.provider_login import ATTEMPT, ProviderLogin
from console.web.sessions import Session, Sessions, hashed
from pipeline.bus import Write
from tests.integration import console_records as data
from tests.integration.browser import Answer, Browser
from tests.integration.console_server import PAGES, Console, with_console
from tests.support import provider as fake
from tests.support.provider import friendly_provider, running_provider

SESSION = "enclii-80"
Story = Callable[[Console, fake.Provider], Awaitable[None]]


def providing(url: str, *, admins: tuple[str, ...] = ("ada",)) -> Callable[[Sessions], ProviderLogin]:
    """The console's side of a provider."""

    def made(sessions: Sessions) -> ProviderLogin:
        client = Provider(
            Issuer(url), client_id=fake.CLIENT, client_secret="s3cret", scopes="openid profile email",
            naming=Naming(admins=admins),
        )  # fmt: skip
        return ProviderLogin(sessions, client, Renewal(sessions, client), console_url=PAGES)

    return made


def with_provider(tmp: Path, story: Story) -> None:
    """Run ``story`` beside a console whose people log in at a provider that does what it is told."""
    with running_provider() as provider:

        async def told(console: Console) -> None:
            await story(console, provider)

        issuer = Issuer(provider.url)
        bearers = Bearers(people=issuer, others=(), audience=fake.CLIENT, naming=Naming())
        with_console(tmp, told, providing=providing(provider.url), others=[bearers.principal])


async def back(browser: Browser, provider: fake.Provider, **more: str) -> Answer:
    """Begin a login, say yes at the provider, and come back."""
    begun = await browser.get("/login/start?next=%2Fruns")
    return await browser.get(local(provider.authorize(begun.location, **more)))


def local(address: str) -> str:
    parts = urlsplit(address)
    assert f"{parts.scheme}://{parts.netloc}" == PAGES
    return f"{parts.path}?{parts.query}"


class Stay(HTTPRedirectHandler):
    """Follows nothing."""

    def redirect_request(self, *_: Any) -> None:
        return None


def yes_at(provider: str, address: str) -> str:
    """Make somebody known at the friendly provider, say yes there, and return where it sends the browser."""
    known = b'{"preferred_username": "ada", "groups": ["developers"]}'
    with urlopen(Request(f"{provider}/users/u-1", known, {"Content-Type": "application/json"}, method="PUT")):
        pass
    with pytest.raises(HTTPError) as sent:
        build_opener(Stay).open(address, urlencode({"sub": "u-1"}).encode())
    sent.value.close()
    return str(sent.value.headers["Location"])


def test_a_person_logs_in_at_a_friendly_provider_and_out_again(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        browser = Browser(console.url)
        assert f"Log in with {urlsplit(provider).netloc}" in (await browser.get("/login")).text
        begun = await browser.get("/login/start?next=%2Fruns")
        asked = dict(parse_qsl(urlsplit(begun.location).query))
        assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")

        came = await browser.get(local(await asyncio.to_thread(yes_at, provider, begun.location)))

        assert (came.status, came.location) == (303, "/runs")
        assert "ada" in (await browser.get("/runs")).text
        out = await browser.submit("/", "/logout")
        assert f"{provider}/oauth2/end_session?" in out.text.replace("&amp;", "&")
        assert (await browser.get("/runs")).status == 303

    with friendly_provider() as provider:
        with_console(tmp_path, story, providing=providing(provider))


def test_a_session_is_the_cookie_of_a_new_id_and_the_groups_are_the_providers(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        await console.put(msgspec.structs.replace(data.shop()[0], roles={"viewer": ("group:developers",)}))  # type: ignore[type-var]
        provider.claims = {"preferred_username": "bo"}
        browser = Browser(console.url, cookies={SESSION: "planted"})

        came = await back(browser, provider)

        assert (came.status, came.location) == (303, "/runs")
        assert browser.cookies[SESSION] not in ("", "planted")
        cookie = came.cookies[SESSION]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "lax")
        assert (await browser.get("/services/shop/production/web/logs")).status != 403
        refused = await browser.post("/act/hold", {"project": "shop", "environment": "production"})
        assert refused.status == 403

    with_provider(tmp_path, story)


@pytest.mark.parametrize("elsewhere", ["https://evil.example.test/", "//evil.example.test", "/\\evil.example.test",
                                       "/login/start", "javascript:alert(1)"])  # fmt: skip
def test_a_login_leads_nowhere_else(tmp_path: Path, elsewhere: str) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        browser = Browser(console.url)
        begun = await browser.get(f"/login/start?{urlencode({'next': elsewhere})}")

        came = await browser.get(local(provider.authorize(begun.location)))

        assert (came.status, came.location) == (303, "/")

    with_provider(tmp_path, story)


def forgeries(provider: fake.Provider, nonce: str) -> dict[str, str]:
    """ID tokens that must not be believed, each with one thing wrong."""
    now = int(time.time())
    other = jwk.RSAKey.generate_key(2048, {"kid": provider.key.kid})
    shared = jwk.OctKey.import_key("secret-secret-secret-secret-secret")
    unsigned = provider.token(nonce=nonce).rpartition(".")[0]
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=") + "." + unsigned.partition(".")[2] + "."
    return {
        "none": none,
        "shared secret": provider.token(alg="HS256", key=shared, nonce=nonce),
        "wrong key": provider.token(key=other, nonce=nonce),
        "unknown key": provider.token(key=other, kid="made-up", nonce=nonce),
        "cut": provider.token(nonce=nonce)[:-20],
        "audience": provider.token(nonce=nonce, aud="other"),
        "issuer": provider.token(nonce=nonce, iss="https://evil.example.test"),
        "expired": provider.token(nonce=nonce, exp=now - 120),
        "not yet": provider.token(nonce=nonce, nbf=now + 600),
        "future": provider.token(nonce=nonce, iat=now + 600),
        "other nonce": provider.token(nonce="other"),
        "no nonce": provider.token(),
        "nobody": provider.token(nonce=nonce, sub=""),
        "nonsense": "a.b.c",
        "none at all": " ",
    }


def test_no_forged_token_logs_anybody_in(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        for name in forgeries(provider, ""):
            browser = Browser(console.url)
            begun = await browser.get("/login/start")
            nonce = dict(parse_qsl(urlsplit(begun.location).query))["nonce"]
            provider.forged = forgeries(provider, nonce)[name]

            came = await browser.get(local(provider.authorize(begun.location)))

            assert (came.status, SESSION in browser.cookies) == (403, False), name
        provider.forged = ""
        assert (await back(Browser(console.url), provider)).status == 303

    with_provider(tmp_path, story)


def test_an_answer_counts_once_in_the_browser_that_asked(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        browser, thief = Browser(console.url), Browser(console.url)
        begun = await browser.get("/login/start")
        answer = local(provider.authorize(begun.location))
        assert (await thief.get(answer)).status == 403
        other = await thief.get("/login/start")
        assert other.status == 303
        assert (await thief.get(answer)).status == 403  # the state is another login's
        attempt = browser.cookies[ATTEMPT]

        assert (await browser.get(answer)).status == 303
        browser.cookies[ATTEMPT] = attempt
        assert (await browser.get(answer)).status == 403
        assert (await back(Browser(console.url), provider, iss="https://evil.example.test")).status == 403

    with_provider(tmp_path, story)


def test_a_provider_that_is_down_stops_new_logins_alone(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        provider.away = True
        early = await Browser(console.url).get("/login/start")
        assert (early.status, "does not answer" in early.text) == (503, True)
        provider.away, provider.expires_in = False, 0.001
        browser = Browser(console.url)
        assert (await back(browser, provider)).status == 303
        await due(console, browser)
        provider.away = True

        assert (await browser.get("/runs")).status == 200
        assert (await back_or_status(console, provider)) in {403, 503}

    with_provider(tmp_path, story)


async def back_or_status(console: Console, provider: fake.Provider) -> int:
    """What a login ends in whose provider went away after it began."""
    browser = Browser(console.url)
    begun = await browser.get("/login/start")
    return (
        begun.status if begun.status != 303 else (await browser.get(local(provider.authorize(begun.location)))).status
    )


async def due(console: Console, browser: Browser) -> Session:
    """Make the session one that is to be renewed now."""
    sessions = Sessions(console.store.bus, lifetime=60)
    found, seq = await sessions.entry(browser.cookies[SESSION])
    assert found is not None
    assert await sessions.replace(browser.cookies[SESSION], msgspec.structs.replace(found, renew_at=1.0), seq)
    return found


def test_a_session_is_renewed_with_a_token_that_turns_and_ends_when_the_provider_says_so(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        browser = Browser(console.url)
        await back(browser, provider)
        first = set(provider.refresh_tokens)
        before = await due(console, browser)
        provider.claims = {"groups": ["operators"]}

        answers = await asyncio.gather(*(browser.get("/runs") for _ in range(8)))

        assert {answer.status for answer in answers} == {200}
        assert len([path for path, query in provider.asked if query.get("grant_type") == "refresh_token"]) == 1
        assert provider.refresh_tokens.isdisjoint(first)
        after = await Sessions(console.store.bus, lifetime=60).find(browser.cookies[SESSION])
        assert after is not None
        assert (after.who.groups, after.expires_at) == (("operators",), before.expires_at)
        stored = b"".join(entry.data for entry in await console.store.bus.scan("web.>"))
        assert not any(token.encode() in stored for token in provider.refresh_tokens)
        for trouble in ("server_error", "temporarily_unavailable", "invalid_client"):
            await due(console, browser)
            provider.refusing = trouble
            assert (await browser.get("/runs")).status == 200, trouble
        provider.refusing = ""
        await due(console, browser)
        provider.refresh_tokens.clear()
        assert (await browser.get("/runs")).status == 303

    with_provider(tmp_path, story)


def test_keys_turn_and_an_issuer_that_changes_is_not_believed(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        assert (await back(Browser(console.url), provider)).status == 303
        provider.turn_key()
        issuer = Issuer(provider.url, clock=iter(range(0, 10**6, 20)).__next__)
        assert (await issuer.verified(provider.token()))["sub"] == "u-1"
        provider.turn_key()
        assert (await issuer.verified(provider.token()))["sub"] == "u-1"
        provider.turn_key(kid=provider.key.kid)
        assert (await issuer.verified(provider.token()))["sub"] == "u-1"
        provider.metadata = {"issuer": "https://evil.example.test"}
        changed = Issuer(provider.url)
        with pytest.raises(Exception, match="says that it is 'https://evil"):
            await changed.verified(provider.token())

    with_provider(tmp_path, story)


def test_names_that_only_the_userinfo_has_are_asked_for_there(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        provider.claims = {"preferred_username": None, "groups": None}
        provider.metadata = {"userinfo_endpoint": f"{provider.url}/userinfo"}
        provider.userinfo = {"sub": "u-1", "preferred_username": "lin", "groups": "developers"}
        browser = Browser(console.url)
        assert (await back(browser, provider)).status == 303
        found = await Sessions(console.store.bus, lifetime=60).find(browser.cookies[SESSION])
        assert found is not None
        assert (found.who.name, found.who.groups) == ("lin", ("developers",))
        provider.userinfo = {"sub": "u-2", "preferred_username": "ada"}
        assert (await back(Browser(console.url), provider)).status == 403

    with_provider(tmp_path, story)


def test_the_api_takes_tokens_of_the_issuer_and_no_forged_one(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        await console.put(msgspec.structs.replace(data.shop()[0], roles={"viewer": ("group:developers",)}))  # type: ignore[type-var]

        async def asked(token: str) -> Answer:
            return await Browser(console.url).get("/v1/projects", Authorization=f"Bearer {token}")

        good = await asked(provider.token())
        assert (good.status, '"slug":"shop"' in good.text) == (200, True)
        stranger = await asked(provider.token(groups=[]))
        assert (stranger.status, stranger.text) == (200, '{"projects":[]}')
        for name, token in forgeries(provider, "n").items():
            if name not in {"other nonce", "no nonce", "none at all"}:
                assert (await asked(token)).status == 401, name
        assert (await asked(provider.token(events={LOGOUT: {}}))).status == 401
        assert "token_expired" in (await asked(provider.token(exp=1))).text

    with_provider(tmp_path, story)


def test_too_many_logins_that_do_not_end_have_to_wait(tmp_path: Path) -> None:
    async def story(console: Console, provider: fake.Provider) -> None:
        browser = Browser(console.url)
        found = [(await browser.get("/login/start")).status for _ in range(61)]

        assert (set(found[:60]), found[60]) == ({303}, 429)

    with_provider(tmp_path, story)


def test_a_session_of_another_version_is_a_login_that_has_ended(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.store.bus.commit(Write(f"web.session.{hashed('x')}", b'{"actor":"ada","expires_at":9e9}'))

        assert (await Browser(console.url, cookies={SESSION: "x"}).get("/runs")).status == 303

    with_console(tmp_path, story)
