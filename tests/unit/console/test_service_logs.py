"""Where a reader of a service's lines goes on: nothing is lost or comes twice, in whatever order it comes."""

from __future__ import annotations

import pytest

from console.service_logs import NANO, Behind, Choice, Seen
from gitops.clusters import LogLine
from pipeline.errors import Invalid

SECOND = NANO


def line(time: int, replica: str = "web.1", release: str = "v2") -> LogLine:
    return LogLine(1_000 * SECOND + time, replica, release, "stdout", b"text")


COMING = [line(10), line(12, "web.2"), line(11), line(11), line(11), line(12, "web.2"), line(9, "web.3"), line(13)]


@pytest.mark.parametrize("read", range(1, len(COMING)))
def test_a_reader_that_comes_back_gets_exactly_the_rest(read: int) -> None:
    seen = Seen()
    ids = [seen.take(one) for one in COMING]

    behind = Behind(Seen.parse(ids[read - 1]))
    rest = [one for one in COMING if behind.passes(one)]

    assert rest == COMING[read:]


def test_an_id_forgets_replicas_that_are_quiet() -> None:
    seen = Seen()
    seen.take(line(0, "old"))
    assert seen.take(line(60 * SECOND)).count(".") == 1


@pytest.mark.parametrize("text", ["x", "1", "1-2.zz-1-1", "1-1" + ".a-1-1" * 3000])
def test_an_id_that_nobody_gave_out_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="Last-Event-ID"):
        Seen.parse(text)


def test_lines_of_one_release_up_to_a_time_are_chosen() -> None:
    choice = Choice(tail=5, release="v2")
    assert [choice.has(line(1)), choice.has(line(1, release="v1"))] == [True, False]
