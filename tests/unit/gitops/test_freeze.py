"""Freeze windows: moments, weeks, zones and the hours that a clock skips or repeats."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.rules.freeze import DAYS, frozen, parse, stamp
from pipeline.errors import Invalid
from pipeline.promotions import FreezeWindow

UTC = datetime.UTC


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(start: object, end: object, **more: object) -> FreezeWindow:
    return parse({"from": start, "until": end, **more}, "freeze[0]")


def test_a_window_between_two_moments_holds_from_its_first_to_before_its_last() -> None:
    one = window("2026-12-20", "2027-01-04", reason="holidays")

    assert frozen([one], at("2026-12-19T23:59:59")) is None
    held = frozen([one], at("2026-12-20T00:00:00"))
    assert held is not None
    assert (held.reason, stamp(held.until or at("2000-01-01"))) == ("holidays", "2027-01-04T00:00:00.000Z")
    assert frozen([one], at("2027-01-04T00:00:00")) is None


def test_dates_that_yaml_has_read_already_are_taken_as_they_are() -> None:
    one = window(datetime.date(2026, 12, 20), datetime.datetime(2026, 12, 21, 6, tzinfo=UTC))

    assert (one.start, one.end) == ("2026-12-20", "2026-12-21T06:00:00+00:00")


def test_a_weekly_window_goes_over_the_end_of_the_week() -> None:
    one = window("Fri 16:00", "mon 08:00")

    inside = ["2026-11-20T16:00:00", "2026-11-22T12:00:00", "2026-11-23T07:59:59"]
    outside = ["2026-11-20T15:59:59", "2026-11-23T08:00:00", "2026-11-25T12:00:00"]
    assert all(frozen([one], at(text)) for text in inside)
    assert not any(frozen([one], at(text)) for text in outside)


def test_a_weekly_window_is_by_the_clock_of_its_zone() -> None:
    one = window("fri 16:00", "fri 18:00", zone="Europe/Berlin")

    assert frozen([one], at("2026-01-16T15:30:00"))
    assert frozen([one], at("2026-07-17T14:30:00"))
    assert not frozen([one], at("2026-07-17T16:30:00"))


def test_an_hour_that_the_clock_shows_twice_is_frozen_both_times() -> None:
    one = window("sun 02:15", "sun 02:45", zone="Europe/Berlin")

    assert frozen([one], at("2026-10-25T00:20:00"))
    assert frozen([one], at("2026-10-25T01:30:00"))
    assert not frozen([one], at("2026-10-25T01:45:00"))


def test_windows_that_touch_are_one_freeze() -> None:
    one, two = window("2026-12-20", "2026-12-24"), window("2026-12-23", "2026-12-27")

    held = frozen([one, two], at("2026-12-21"))

    assert held is not None
    assert held.until == at("2026-12-27")


def test_windows_that_cover_every_week_are_looked_at_again_later() -> None:
    held = frozen([window("mon 00:00", "thu 00:00"), window("wed 00:00", "tue 00:00")], at("2026-11-23"))

    assert held is not None
    assert held.until is not None
    assert held.until > at("2026-12-23")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("always", "mapping"),
        ({"from": "2026-12-20"}, "freeze[0].until"),
        ({"from": "2026-12-20", "until": "2026-12-19"}, "ends before"),
        ({"from": "fri 16:00", "until": "2026-12-19"}, "two times of the week"),
        ({"from": "fri 16:00", "until": "fri 16:00"}, "enclii freeze"),
        ({"from": "fri 25:00", "until": "tomorrow"}, "such as"),
        ({"from": "2026-12-20", "until": "2026-12-21", "zone": "Mars/Base"}, "time zone"),
        ({"from": "2026-12-20", "until": "2026-12-21", "zone": "../../etc/passwd"}, "time zone"),
        ({"from": "2026-12-20", "until": "2026-12-21", "to": "x"}, "unknown key"),
    ],
)
def test_a_wrong_window_is_refused_by_name(item: object, said: str) -> None:
    with pytest.raises(Invalid, match=r"project\.yaml: freeze\[0\]") as error:
        parse(item, "freeze[0]")
    assert said in error.value.message


minutes = st.integers(0, 7 * 24 * 60 - 1)


@given(start=minutes, length=st.integers(1, 7 * 24 * 60 - 1), moment=st.integers(0, 3 * 7 * 24 * 60))
def test_a_weekly_window_holds_exactly_in_its_minutes(start: int, length: int, moment: int) -> None:
    monday = at("2026-11-02")
    end = (start + length) % (7 * 24 * 60)
    one = FreezeWindow(start=_week_time(start), end=_week_time(end))

    held = frozen([one], monday + datetime.timedelta(minutes=moment))

    into = (moment - start) % (7 * 24 * 60)
    assert (held is not None) == (into < length)
    if held is not None:
        assert held.until == monday + datetime.timedelta(minutes=moment - into + length)


def _week_time(minute: int) -> str:
    return f"{DAYS[minute // 1440]} {minute // 60 % 24:02}:{minute % 60:02}"
