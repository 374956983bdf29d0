"""Addresses that a login may lead to, and guesses that have to wait."""

from __future__ import annotations

import pytest

from console.web.security import Guesses, local_path


@pytest.mark.parametrize("path", ["/", "/runs/r-1", "/services/shop/production/web/logs?q=a%20b"])
def test_a_path_of_this_site_is_followed(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.test/", "//evil.test", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)", "runs", "",
        "/\t/evil.test",
        "/\r\nSet-Cookie: a=b", "///evil.test", "/login?next=/", "/logout", "/" + "a" * 3_000, "/\u2025/evil",
    ],
)  # fmt: skip
def test_an_address_elsewhere_becomes_the_overview(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"


def test_who_guesses_too_often_waits_and_nobody_else_does() -> None:
    guesses = Guesses(most=3, within=60.0, clock=lambda: 100.0)

    for _ in range(3):
        guesses.wrong("10.0.0.1")

    assert guesses.wait("10.0.0.1") == 60.0
    assert guesses.wait("10.0.0.2") == 0.0


def test_old_guesses_are_forgotten() -> None:
    times = iter([0.0, 1.0, 61.5, 61.5, 61.5, 61.5])
    guesses = Guesses(most=2, within=60.0, clock=lambda: next(times))

    guesses.wrong("10.0.0.1")
    guesses.wrong("10.0.0.1")

    assert guesses.wait("10.0.0.1") == 0.0


def test_many_addresses_take_no_more_memory_than_few() -> None:
    guesses = Guesses(most=1, addresses=2)

    for number in range(5):
        guesses.wrong(f"10.0.0.{number}")

    assert [guesses.wait(f"10.0.0.{number}") > 0 for number in range(5)] == [False, False, False, True, True]
