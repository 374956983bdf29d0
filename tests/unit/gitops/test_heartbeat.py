"""How long somebody has looked without a break."""

from __future__ import annotations

import datetime

import pytest

from gitops.syncing.heartbeat import beaten
from pipeline.records import Observer

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
BEFORE = Observer(since="2026-11-23T11:00:00.000Z", at="2026-11-23T11:59:50.000Z")


@pytest.mark.parametrize("passed", [None, 10.1])
def test_a_beat_in_time_goes_on(passed: float | None) -> None:
    assert beaten(BEFORE, NOW, passed=passed) == Observer(since=BEFORE.since, at="2026-11-23T12:00:00.000Z")


@pytest.mark.parametrize(
    ("last", "passed"),
    [
        ("2026-11-23T11:59:00.000Z", None),  # was dead for a minute
        ("2026-11-23T12:00:05.000Z", None),  # the clock went back
        ("2026-11-23T11:59:50.000Z", 3.0),  # the clock was put forward, or the machine slept
        ("2026-11-23T11:59:50.000Z", 25.0),  # the clock was put back while this ran
    ],
)
def test_a_gap_or_a_clock_that_was_set_begins_anew(last: str, passed: float | None) -> None:
    found = beaten(Observer(since=BEFORE.since, at=last), NOW, passed=passed)

    assert (found.since, found.at) == ("2026-11-23T12:00:00.000Z", "2026-11-23T12:00:00.000Z")


def test_the_first_beat_begins() -> None:
    assert beaten(None, NOW, passed=None).since == "2026-11-23T12:00:00.000Z"
