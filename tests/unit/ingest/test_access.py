from __future__ import annotations

import base64

import pytest

from ingest.access import Caller, Tokens, caller
from ingest.gitrepos import RepositoryName

TOKENS = Tokens(deploy="d-token", read="r-token", config="c-token")
SOURCE, CONFIG = RepositoryName.of("shop", "web"), RepositoryName.of("enclii", "config")


def basic(user: str, secret: str, tokens: Tokens = TOKENS) -> Caller | None:
    return caller("Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode(), tokens)


@pytest.mark.parametrize(
    ("token", "rights"),
    [("d-token", "rwrw"), ("r-token", "r-r-"), ("c-token", "--rw")],
)
def test_each_token_opens_what_it_is_for(token: str, rights: str) -> None:
    found = basic("x", token)
    assert found is not None
    may = [found.may_read(SOURCE), found.may_write(SOURCE), found.may_read(CONFIG), found.may_write(CONFIG)]
    assert may == [letter != "-" for letter in rights]


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!", "Basic eA==", "Digest x", "Bearer wrong", "Bearer ", "é"])
def test_anything_else_opens_nothing(header: str) -> None:
    assert caller(header, TOKENS) is None


def test_an_empty_token_opens_nothing() -> None:
    assert basic("x", "", Tokens(deploy="d")) is None
    assert caller("Bearer ", Tokens(deploy="d")) is None


def test_a_bearer_token_works() -> None:
    assert caller("Bearer r-token", TOKENS) == Caller("read", "deployer")


@pytest.mark.parametrize("user", ["alex", "a.b@example.org"])
def test_a_login_name_is_the_actor(user: str) -> None:
    found = basic(user, "d-token")
    assert found is not None
    assert found.actor == user


@pytest.mark.parametrize("user", ["x", "", "X-Access-Token", "d-token", "r-token", "a b", "<x>", "a\nb", "x" * 65])
def test_a_placeholder_a_token_or_an_odd_name_is_nobody(user: str) -> None:
    found = basic(user, "d-token")
    assert found is not None
    assert found.actor == "deployer"


def test_a_token_may_stand_in_the_place_of_the_login_name() -> None:
    assert basic("d-token", "") == basic("d-token", "x-oauth-basic") == Caller("deploy", "deployer")


def test_tokens_do_not_show() -> None:
    assert "token" not in repr(TOKENS)
