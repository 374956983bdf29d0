"""Accounts of registries: docker's file, its helpers by their own protocol, and what is wrong with either."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import EncliiError, Invalid, Unavailable
from pipeline.process import SEARCH_PATH
from pipeline.registry_accounts import HUB_KEY, Accounts, docker_config
from pipeline.registry_login import Credentials

ME = "bWU6aHVudGVyMg=="  # me:hunter2
HELPER = """#!/bin/sh
[ "$1" = get ] || exit 3
read server || true
case $server in
  short.example) printf '{"ServerURL":"x","Username":"AWS","Secret":"s-%s"}' "$(date +%N)" ;;
  idp.example) printf '{"ServerURL":"x","Username":"<token>","Secret":"refresh"}' ;;
  garbled.example) echo 'Welcome to our cloud!' ;;
  broken.example) echo 'no network: hunter2'; exit 1 ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    helper = tmp_path / "bin" / "docker-credential-cloud"
    helper.parent.mkdir()
    helper.write_text(HELPER)
    helper.chmod(0o755)
    programs = os.pathsep.join((str(helper.parent), SEARCH_PATH))
    return Accounts({"ours:5000": Credentials("u", "p")}, tmp_path / "config.json", programs)


def found(accounts: Accounts, host: str, **config: Any) -> Credentials | None:
    assert accounts.file is not None
    accounts.file.write_text(json.dumps(config))
    return asyncio.run(accounts.of(host))


def failure(accounts: Accounts, host: str, **config: Any) -> EncliiError:
    with pytest.raises(EncliiError) as caught:
        found(accounts, host, **config)
    assert "hunter2" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("r.example:5000", "r.example:5000"),
        ("r.example", "https://r.example"),
        ("r.example", "https://R.example/v2/"),
        ("docker.io", HUB_KEY),
        ("registry-1.docker.io", "docker.io"),
    ],
)
def test_a_registry_is_found_however_docker_wrote_it_down(accounts: Accounts, host: str, key: str) -> None:
    assert found(accounts, host, auths={key: {"auth": ME}}) == Credentials("me", "hunter2")


@pytest.mark.parametrize("key", ["r.example/team", "https://r.example/v1/access-token"])
def test_a_part_of_a_registry_is_not_the_registry(accounts: Accounts, key: str) -> None:
    assert found(accounts, "r.example", auths={key: {"auth": ME}}) is None


def test_the_settings_account_goes_before_the_file(accounts: Accounts) -> None:
    assert found(accounts, "ours:5000", auths={"ours:5000": {"auth": ME}}) == Credentials("u", "p")


def test_a_stranger_to_all_of_them_has_no_account(accounts: Accounts) -> None:
    assert found(accounts, "other.example", auths={"r.example": {"auth": ME}, "other.example": {}}) is None
    assert found(accounts, "other.example", credsStore="cloud") is None
    assert asyncio.run(Accounts().of("other.example")) is None


def test_a_helper_is_asked_anew_each_time(accounts: Accounts) -> None:
    helpers = {"short.example": "cloud"}
    first, second = (found(accounts, "short.example", credHelpers=helpers) for _ in range(2))

    assert first is not None
    assert second is not None
    assert (first.username, first != second) == ("AWS", True)


def test_the_store_answers_for_what_no_helper_and_no_entry_is_named_for(accounts: Accounts) -> None:
    config = {"credsStore": "cloud", "auths": {"r.example": {"auth": ME}}}

    assert found(accounts, "idp.example", **config) == Credentials("<token>", "refresh", identity=True)
    assert found(accounts, "r.example", **config) == Credentials("me", "hunter2")


@pytest.mark.parametrize(
    ("host", "config", "kind", "reason"),
    [
        ("broken.example", {"credsStore": "cloud"}, Unavailable, "registry_helper"),
        ("garbled.example", {"credsStore": "cloud"}, Unavailable, "registry_helper"),
        ("r.example", {"credsStore": "not-installed"}, Unavailable, "registry_helper"),
        ("r.example", {"credsStore": "../../bin/sh"}, Invalid, "registry_config"),
        ("r.example", {"auths": []}, Invalid, "registry_config"),
        ("r.example", {"auths": {"r.example": {"auth": "hunter2"}}}, Invalid, "registry_config"),
    ],
    ids=["fails", "prints no answer", "is not there", "is a path", "no table", "no base64"],
)
def test_what_is_wrong_is_said_without_the_secret(
    accounts: Accounts, host: str, config: dict[str, Any], kind: type[EncliiError], reason: str
) -> None:
    error = failure(accounts, host, **config)

    assert (type(error), error.reason) == (kind, reason)


def test_people_are_told_who_knows_which_account(accounts: Accounts) -> None:
    assert accounts.file is not None
    config = {"auths": {"a": {"auth": ME}, "b": {}}, "credHelpers": {"c": "cloud"}, "credsStore": "pass"}
    accounts.file.write_text(json.dumps(config))

    told = "ours:5000 by settings, c by helper cloud, a by config.json, others by helper pass"
    assert accounts.told() == f"accounts of registries: {told}"
    assert Accounts().told() == "accounts of registries: none"


def test_a_file_that_is_not_there_or_no_json_is_named(tmp_path: Path) -> None:
    for content in (None, "{", "[]"):
        file = tmp_path / "config.json"
        if content is not None:
            file.write_text(content)
        with pytest.raises(Invalid, match=r"config\.json"):
            asyncio.run(Accounts(file=file).of("r.example"))


def test_builders_read_the_accounts_as_docker_writes_them() -> None:
    text = docker_config({"docker.io": Credentials("me", "hunter2"), "a": Credentials("<token>", "r", identity=True)})

    auths = json.loads(text)["auths"]
    assert auths["docker.io"] == auths[HUB_KEY] == {"auth": ME}
    assert auths["a"] == {"auth": "PHRva2VuPjo=", "identitytoken": "r"}
