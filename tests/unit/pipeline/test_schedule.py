"""Schedules: never, at a time of the day, at intervals."""

from __future__ import annotations

import datetime

import pytest

from pipeline.schedule import schedule, until_next

NOON = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("given", "seconds"), [("off", None), ("12:30", 1800.0), ("12:00", 86_400.0), ("11:00", 82_800.0), ("6h", 21_600.0)]
)
def test_the_next_time_is_as_far_away_as_the_schedule_says(given: str, seconds: float | None) -> None:
    assert until_next(schedule(given), NOON) == seconds


@pytest.mark.parametrize("given", ["", "24:00", "3:00", "03:60", "nightly", "0s"])
def test_what_is_no_schedule_is_told(given: str) -> None:
    with pytest.raises(ValueError, match="off, a time of the day"):
        schedule(given)
