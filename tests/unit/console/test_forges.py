"""Repositories as people link them: what an address names, and which one is not taken."""

from __future__ import annotations

import pytest

from console.forges import Forges, address
from pipeline.errors import EncliiError, Invalid, NotFound

OURS = "http://127.0.0.1:7081"
FORGES = Forges(OURS, "https://hooks.example.test/", ("new-root", "old-root"))


def check(url: str, *, forge: str = "github", repository: str = "", branch: str = "main", credential: str = "") -> None:
    FORGES.check(
        forge=forge, url=url, repository=repository or address(url).identity(forge),
        branches={"production": branch}, credential=credential,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/Owner/Shop",
        "https://github.com/owner/shop.git",
        "https://github.com/owner/shop/",
        "ssh://git@github.com/owner/shop.git",
        "git@github.com:owner/shop.git",
    ],
)
def test_every_form_of_an_address_names_the_same_repository(text: str) -> None:
    assert address(text).identity("github") == "github:owner/shop"
    assert address(text).host == "github.com"


@pytest.mark.parametrize(
    "text",
    [
        "github.com/owner/shop",
        "file:///srv/shop.git",
        "ext::sh -c id",
        "--upload-pack=id",
        "https://github.com/owner",
        "https://github.com/owner/shop/tree/main",
        "https://github.com/owner/..",
        "https://github.com/owner/shop?ref=main",
        "https://token@github.com/owner/shop",
        "https://user:word@github.com/owner/shop",
        "https://github.com:no/owner/shop",
        "https://-oProxyCommand=id/owner/shop",
        "https://github.com/owner/sh op",
        "https://github.com/owner/shop\n",
    ],
)
def test_what_is_no_plain_address_of_a_repository_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        address(text)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8/o/n", "http://localhost:8/o/n", "https://forge.example.test/o/n"])
def test_another_server_that_speaks_as_github_does_is_taken_when_somebody_says_so(url: str) -> None:
    check(url)


def test_plain_http_beyond_this_machine_is_refused() -> None:
    with pytest.raises(Invalid, match="plain http"):
        check("http://github.com/owner/shop")


def test_only_our_own_git_host_is_local() -> None:
    check(f"{OURS}/shop/shop.git", forge="local")
    for url in ("https://git.example.test/shop/shop", "http://127.0.0.1:708/shop/shop.git"):
        with pytest.raises(Invalid, match="--forge github"):
            check(url, forge="local")


@pytest.mark.parametrize(
    "wrong",
    [
        {"repository": "github:owner/other"},
        {"branch": "no..branch"},
        {"credential": "../signing.key"},
        {"credential": ".hidden"},
        {"forge": "sourceforge"},
    ],
)
def test_a_field_that_does_not_fit_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(EncliiError):
        check("https://github.com/owner/shop", **wrong)


def test_a_hook_is_the_same_for_the_same_command_and_shows_nothing_of_it() -> None:
    first, again, other = (FORGES.new_hook(command) for command in ("c-1", "c-1", "c-2"))

    assert first == again != other
    assert len(first) == 26
    assert Forges(OURS, "", ("another-root",)).new_hook("c-1") != first


def test_a_webhook_is_told_with_the_newest_secret_and_only_where_there_is_one() -> None:
    told = FORGES.webhook("abc")

    assert told["payload_url"] == "https://hooks.example.test/hooks/github/abc"
    assert told["secret"] not in {"", Forges(OURS, "", ("old-root",)).webhook("abc")["secret"]}
    assert FORGES.webhook("abc", "gitlab")["payload_url"] == "https://hooks.example.test/hooks/gitlab/abc"
    with pytest.raises(NotFound):
        FORGES.webhook("")


def test_no_root_shows_in_a_text() -> None:
    assert "root" not in repr(FORGES).replace("roots", "")
