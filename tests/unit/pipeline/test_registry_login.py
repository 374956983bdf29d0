"""Logins: an account that changes, and a token that is only good for others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qs

import pytest

from pipeline.errors import Refused
from pipeline.registry_login import Access, Credentials, Login

PULL: Access = ("shop/web", "pull")
BEARER = 'Bearer realm="https://auth.example/token",service="r",scope="repository:shop/web:pull"'
ANSWER = b'{"access_token": "short-lived"}'


def test_an_identity_token_is_changed_for_another_by_a_form() -> None:
    asked: list[tuple[str, bytes | None]] = []

    async def ask(url: str, headers: Mapping[str, str], form: bytes | None) -> bytes:
        asked.append((url, form))
        return ANSWER

    login = Login(Credentials("<token>", "identity", identity=True), plain_http=False, ask=ask)
    asyncio.run(login.learn(BEARER, PULL, used={}))

    [(url, form)] = asked
    assert url == "https://auth.example/token"
    assert {key: value[0] for key, value in parse_qs((form or b"").decode()).items()} == {
        "grant_type": "refresh_token", "client_id": "enclii", "refresh_token": "identity", "service": "r",
        "scope": "repository:shop/web:pull",
    }  # fmt: skip
    assert login.header(PULL) == {"Authorization": "Bearer short-lived"}


def test_an_account_is_asked_for_at_each_login_and_the_same_one_is_not_tried_twice() -> None:
    accounts = [Credentials("AWS", "one"), Credentials("AWS", "two"), Credentials("AWS", "two")]

    async def account() -> Credentials:
        return accounts.pop(0)

    async def ask(url: str, headers: Mapping[str, str], form: bytes | None) -> bytes:
        raise AssertionError("no token service is asked for Basic")

    async def story() -> list[str]:
        login = Login(account, plain_http=False, ask=ask)
        seen = []
        for _ in range(2):
            await login.learn('Basic realm="r"', PULL, used=login.header(PULL))
            seen.append(login.header(PULL)["Authorization"])
        with pytest.raises(Refused):
            await login.learn('Basic realm="r"', PULL, used=login.header(PULL))
        return seen

    assert asyncio.run(story()) == [Credentials("AWS", word).basic for word in ("one", "two")]
