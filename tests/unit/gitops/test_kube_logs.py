"""Lines with times in nanoseconds, resumed by whole seconds without loss or repetition."""

from __future__ import annotations

from gitops.clusters import LogLine
from gitops.clusters.kube_logs import NANO, Told, parse, stamp


def line(time: int, text: bytes = b"x") -> LogLine:
    return LogLine(time, "web-1", "v1", "stdout", text)


def test_a_line_is_read_to_the_nanosecond() -> None:
    found = parse(b"2026-01-02T03:04:05.000000007Z hello there\n", replica="web-1", release="v1")

    assert found is not None
    assert (found.time % NANO, found.text) == (7, b"hello there")
    assert stamp(found.time) == "2026-01-02T03:04:05Z"


def test_a_complaint_of_the_kubelet_is_no_line() -> None:
    assert parse(b"unable to retrieve container logs", replica="web-1", release="v1") is None


def test_what_comes_again_after_a_lost_connection_is_dropped_once_for_each_time_it_was_told() -> None:
    told, first = Told(), [line(10 * NANO), line(10 * NANO), line(11 * NANO, b"y")]
    assert all(told.fresh(one) for one in first)
    told.resume()

    assert [told.fresh(one) for one in [*first, line(10 * NANO), line(12 * NANO)]] == [False, False, False, True, True]


def test_reading_begins_again_before_the_last_line_because_streams_are_not_in_order() -> None:
    told = Told()
    told.fresh(line(10 * NANO + 5))

    assert told.resume() == 8 * NANO
