"""What a token must say, claim by claim."""

from __future__ import annotations

from typing import Any

import pytest

from console.identity.bearers import kept_apart
from console.identity.claims import LOGOUT, Naming, check, check_id_token, check_logout, principal
from pipeline.access import Grant
from pipeline.errors import Refused

NOW = 1_000_000.0
GOOD = {"iss": "https://id.example.test", "aud": "enclii", "sub": "u-1", "iat": NOW, "exp": NOW + 300, "nonce": "n"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "https://id.example.test/"}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"aud": "other"}, "wrong_audience"),
        ({"aud": ["other", "third"]}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"azp": "other"}, "wrong_audience"),
        ({"exp": NOW - 61}, "token_expired"),
        ({"exp": None}, "bad_token"),
        ({"exp": "soon"}, "bad_token"),
        ({"exp": True}, "bad_token"),
        ({"nbf": NOW + 61}, "token_not_yet_valid"),
        ({"iat": NOW + 61}, "token_not_yet_valid"),
        ({"iat": None}, "bad_token"),
        ({"nonce": "other"}, "wrong_nonce"),
        ({"nonce": None}, "wrong_nonce"),
        ({"sub": ""}, "no_subject"),
        ({"sub": 7}, "no_subject"),
        ({"sub": "x" * 257}, "no_subject"),
    ],
)
def test_an_id_token_that_says_otherwise_is_refused(change: dict[str, Any], reason: str) -> None:
    claims = {name: value for name, value in {**GOOD, **change}.items() if value is not None}

    with pytest.raises(Refused) as refused:
        check_id_token(claims, issuer="https://id.example.test", client="enclii", nonce="n", now=NOW)

    assert refused.value.reason == reason


@pytest.mark.parametrize("change", [{}, {"aud": ["other", "enclii"], "azp": "enclii"}, {"exp": NOW - 59},
                                    {"nbf": NOW + 59}, {"iat": NOW + 59}])  # fmt: skip
def test_an_id_token_within_the_skew_of_clocks_is_good(change: dict[str, Any]) -> None:
    check_id_token({**GOOD, **change}, issuer="https://id.example.test", client="enclii", nonce="n", now=NOW)


@pytest.mark.parametrize("change", [{"events": {}}, {"events": {LOGOUT: 1}}, {"nonce": "n"}, {"jti": None},
                                    {"iat": NOW - 700}, {"aud": "x"}, {"sub": None}])  # fmt: skip
def test_a_logout_token_that_is_none_is_refused(change: dict[str, Any]) -> None:
    good = {name: GOOD[name] for name in ("iss", "aud", "sub", "iat")} | {"jti": "j", "events": {LOGOUT: {}}}
    claims = {name: value for name, value in {**good, **change}.items() if value is not None}
    check_logout(good, issuer="https://id.example.test", client="enclii", now=NOW)

    with pytest.raises(Refused):
        check_logout(claims, issuer="https://id.example.test", client="enclii", now=NOW)


def test_a_person_is_named_by_the_claim_and_an_admin_by_the_settings() -> None:
    claims = {"sub": "u-1", "preferred_username": "ada", "groups": ["ops", 7, ""]}

    who = principal(claims, Naming(admins=("group:ops",)))

    assert (who.name, who.groups, who.grants) == ("ada", ("ops",), (Grant(role="admin"),))


@pytest.mark.parametrize("name", [None, "", "group:ops", "a\nb", 7])
def test_a_person_without_a_usable_name_is_refused(name: object) -> None:
    with pytest.raises(Refused, match="names you in no usable way"):
        principal({"sub": "u-1", "preferred_username": name}, Naming())


@pytest.mark.parametrize("said", [False, "false", 0, None])
def test_an_address_that_is_not_verified_names_nobody(said: object) -> None:
    with pytest.raises(Refused, match="not verified"):
        principal({"sub": "u", "email": "ada@example.test", "email_verified": said}, Naming(name="email"))


@pytest.mark.parametrize("name", ["github:ada", "ci.example.test:ada", ":"])
def test_a_person_takes_no_name_that_is_anothers_in_a_projects_roles(name: str) -> None:
    with pytest.raises(Refused, match="colon is in it"):
        principal({"sub": "u-1", "preferred_username": name}, Naming())


def test_two_issuers_of_one_host_are_told_apart() -> None:
    assert kept_apart("https://id.example.test/realms/a") != kept_apart("https://id.example.test/realms/b")
    assert kept_apart("https://ci.example.test/") == "ci.example.test"


def test_the_names_of_another_issuer_cannot_be_those_of_people() -> None:
    who = principal({"sub": "ada", "groups": ["ops"]}, Naming(admins=("ada", "group:ops")), prefix="ci.example.test")

    assert (who.name, who.groups, who.grants) == ("ci.example.test:ada", (), ())


def test_an_api_token_needs_no_nonce() -> None:
    check({name: GOOD[name] for name in ("iss", "aud", "sub", "exp")}, issuer=GOOD["iss"], audience="enclii", now=NOW)  # type: ignore[arg-type]
