"""The times of forges, in all their forms, in one order."""

from __future__ import annotations

import itertools

import pytest

from pipeline.moments import before, moment

IN_ORDER = (
    "2017-12-10 17:01:11 UTC", "2017-12-10T17:01:11.250Z", "2017-12-10T18:01:12+01:00", "2017-12-10 17:01:13 +0000",
    "2017-12-10T17:01:14Z",
)  # fmt: skip


@pytest.mark.parametrize(("one", "other"), list(itertools.pairwise(IN_ORDER)))
def test_an_earlier_moment_is_before_a_later_one_however_it_is_written(one: str, other: str) -> None:
    assert before(one, other)
    assert not before(other, one)
    assert not before(one, one)


@pytest.mark.parametrize("text", ["", "yesterday", "2017-13-40T00:00:00Z"])
def test_what_is_no_time_is_before_nothing(text: str) -> None:
    assert moment(text) is None
    assert not before(text, IN_ORDER[0])
    assert not before(IN_ORDER[0], text)
