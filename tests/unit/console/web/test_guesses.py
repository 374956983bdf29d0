"""Guesses that have to wait, and whose they are."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from console.web.guesses import Guesses, address_of


def from_address(address: str) -> Request:
    return Request({"type": "http", "client": (address, 4711), "headers": []})


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


@pytest.mark.parametrize(
    ("given", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("not an address", "not an address"),
    ],
)
def test_who_has_a_whole_network_of_addresses_is_one_guesser(given: str, whose: str) -> None:
    assert address_of(from_address(given)) == whose
