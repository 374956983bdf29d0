"""Machine tokens and the command line's login over the API, before a real event store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from console.client import Client
from pipeline.principals import Token
from tests.integration import console_records as data
from tests.integration.browser import Browser, logged_in
from tests.integration.console_server import PAGES, Console, with_console

HOLD = {"project": "shop", "environment": "production", "service": "web"}


async def reply(console: Console, token: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and JSON of what a token's holder asks."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    browser = Browser(console.url)
    if body is None:
        answer = await browser.get(path, **headers)
    else:
        sent = {**headers, "Content-Type": "application/json"}
        answer = await asyncio.to_thread(browser._ask, "POST", path, json.dumps(body), sent)
    return answer.status, json.loads(answer.text)


def test_a_token_may_what_its_scope_says_until_it_is_revoked(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop())
        asked = {"name": "ci", "role": "deployer", "project": "shop", "environment": "production", "expires_in": 3600}
        made = await console.post("/v1/tokens", asked)
        text = made["token"]

        assert (await reply(console, text, "/v1/holds", HOLD))[0] == 202
        elsewhere = await reply(console, text, "/v1/holds", {**HOLD, "environment": "staging"})
        assert (elsewhere[0], elsewhere[1]["reason_code"]) == (403, "role_missing")
        assert (await reply(console, text, "/v1/tokens", asked))[0] == 403
        who = (await reply(console, text, "/v1/whoami"))[1]
        assert who["name"] == "token:ci"
        assert {"project": "shop", "environment": "production", "role": "deployer"} in who["roles"]

        stored = await console.store.bus.scan("st.token.>")
        assert text.encode() not in b"".join(entry.data for entry in stored)
        await console.reached(stored[-1].seq)
        listed = (await console.get("/v1/tokens"))["tokens"]
        assert [(one["name"], one["active"], bool(one["used_at"]), "token" in one) for one in listed] == [
            ("ci", True, True, False)
        ]
        await console.post(f"/v1/tokens/{made['id']}/revoke", {})
        assert (await reply(console, text, "/v1/whoami"))[0] == 401

    with_console(tmp_path, story)


def test_a_token_ends_by_time_and_is_nothing_when_it_is_not_exact(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        made = await console.post("/v1/tokens", {"name": "ci", "role": "viewer"})
        text = made["token"]
        for wrong in (
            text[:-1],
            text + "x",
            text.upper(),
            text.replace("enclii_", ""),
            f"enclii_{'0' * 12}_{'a' * 43}",
        ):
            assert (await reply(console, wrong, "/v1/whoami"))[0] == 401
        found = await console.store.get(Token, made["id"])
        assert found is not None
        await console.put(replace(found.record, expires_at="2020-01-01T00:00:00Z"))
        assert (await reply(console, text, "/v1/whoami"))[0] == 401

    with_console(tmp_path, story)


def test_what_a_token_is_asked_for_is_checked(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        good = {"name": "ci", "role": "viewer"}
        for wrong in ({"role": "owner"}, {"name": ""}, {"name": "x" * 101}, {"environment": "production"},
                      {"expires_in": 1}, {"expires_in": 10**9}, {"expires_in": True},
                      {"expires_in": "1h"}, {"more": 1}):  # fmt: skip
            failure = await console.failure_of("/v1/tokens", {**good, **wrong})
            assert failure.exit_code == 2, wrong

    with_console(tmp_path, story)


def test_a_command_line_logs_in_once_the_person_says_yes(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        person = await logged_in(console)
        begun = (await reply(console, "", "/v1/device", {"client": "laptop"}))[1]
        ask = {"device_code": begun["device_code"]}
        waiting = await reply(console, "", "/v1/device/token", ask)
        assert (waiting[0], waiting[1]["reason_code"]) == (400, "authorization_pending")
        assert (await reply(console, "", "/v1/device/token", ask))[1]["reason_code"] == "slow_down"
        page = await person.get(f"/device?code={begun['user_code']}")
        assert ("laptop" in page.text, begun["user_code"] in page.text) == (True, True)

        done = await person.submit(f"/device?code={begun['user_code']}", "/device", verdict="yes")

        assert (done.status, "is logged in there" in done.text) == (200, True)
        status, given = await reply(console, "", "/v1/device/token", ask)
        assert (status, given["name"]) == (200, "deployer")
        assert (await reply(console, given["token"], "/v1/whoami"))[1]["roles"][0]["role"] == "admin"
        again = await reply(console, "", "/v1/device/token", ask)
        assert again[1]["reason_code"] == "expired_token"

    with_console(tmp_path, story)


async def logged_in_command_line(console: Console, person: Browser) -> str:
    """The token of a command line to which that browser's person said yes."""
    begun = (await reply(console, "", "/v1/device", {"client": "laptop"}))[1]
    assert (await person.submit(f"/device?code={begun['user_code']}", "/device", verdict="yes")).status == 200
    return str((await reply(console, "", "/v1/device/token", {"device_code": begun["device_code"]}))[1]["token"])


def test_what_came_of_a_token_ends_with_it(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        made = await console.post("/v1/tokens", {"name": "ops", "role": "admin", "expires_in": 3600})
        invited = (await reply(console, made["token"], "/v1/logins", {}))[1]["address"]
        browser = Browser(console.url)
        assert (await browser.get(invited.removeprefix(PAGES))).status == 303
        laptop = await logged_in_command_line(console, browser)
        child = (await reply(console, made["token"], "/v1/tokens", {"name": "child", "role": "admin"}))[1]["token"]
        assert [(await reply(console, one, "/v1/whoami"))[0] for one in (laptop, child)] == [200, 200]
        assert (await browser.get("/runs")).status == 200

        await console.post(f"/v1/tokens/{made['id']}/revoke", {})

        assert [(await reply(console, one, "/v1/whoami"))[0] for one in (laptop, child)] == [401, 401]
        assert (await browser.get("/runs")).status == 303

    with_console(tmp_path, story)


def test_a_stream_ends_for_a_reader_whose_token_or_role_is_gone(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        await console.put(*data.shop(), data.run(3, "running"), data.job(3, "building"))
        asked = {"name": "ci", "role": "viewer", "project": "shop"}
        made = await console.post("/v1/tokens", asked)
        ada = tmp_path / "people" / "ada"
        ada.parent.mkdir()
        ada.write_text("a-token-of-adas-own")
        followed = "/v1/runs/r-3/logs?service=web&follow=true"

        def last(token: str, address: str) -> Any:
            return list(Client(console.url, token)._stream(address, ""))[-1]

        reading = [
            asyncio.create_task(asyncio.to_thread(last, token, address))
            for token in (made["token"], "a-token-of-adas-own")
            for address in (followed, "/v1/events")
        ]
        await asyncio.sleep(2.5)  # longer than from one look to the next: who may read goes on reading
        assert not any(task.done() for task in reading)
        await console.post(f"/v1/tokens/{made['id']}/revoke", {})
        ada.unlink()

        ended = await asyncio.gather(*reading)

        assert {(one.kind, one.data["reason_code"]) for one in ended} == {("problem", "login_ended")}

    with_console(tmp_path, story)


def test_a_login_ends_when_the_persons_file_goes(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        file = tmp_path / "people" / "ada"
        file.parent.mkdir()
        file.write_text("a-token-of-adas-own")
        invited = (await reply(console, "a-token-of-adas-own", "/v1/logins", {}))[1]["address"]
        browser = Browser(console.url)
        assert (await browser.get(invited.removeprefix(PAGES))).status == 303
        assert (await browser.get("/runs")).status == 200

        file.write_text("another-token-of-adas")

        assert (await browser.get("/runs")).status == 303

    with_console(tmp_path, story)


def test_a_command_line_is_refused_by_a_no_a_guess_and_without_the_form(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        person = await logged_in(console)
        begun = (await reply(console, "", "/v1/device", {}))[1]
        address = f"/device?code={begun['user_code'].lower()}"
        assert (await Browser(console.url).get(address)).status == 303
        assert (await person.post("/device", {"code": begun["user_code"], "verdict": "yes"})).status == 403
        assert (await reply(console, "", "/v1/device/token", {"device_code": begun["device_code"][:-1]}))[0] == 400

        await person.submit(address, "/device", verdict="no")

        refused = await reply(console, "", "/v1/device/token", {"device_code": begun["device_code"]})
        assert (refused[0], refused[1]["reason_code"]) == (409, "access_denied")
        guesses = [(await person.get(f"/device?code=BBBB-BBB{letter}")).status for letter in "BCDFGHJKLMN"]
        assert (set(guesses[:10]), guesses[10]) == ({200}, 429)

    with_console(tmp_path, story)


def test_a_client_with_a_wrong_token_is_told_so(tmp_path: Path) -> None:
    async def story(console: Console) -> None:
        stranger = Console(console.store, console.projection, Client(console.url, "x"), console.url, console.logs,
                           console.stopping)  # fmt: skip

        assert (await stranger.failure("/v1/whoami")).reason == "wrong_token"

    with_console(tmp_path, story)
