"""The queue's length and the builds that were spared, over jobs whose answers are known."""

from __future__ import annotations

import datetime

from msgspec.structs import replace

from console.queue_figures import cached, waited
from console.web.timelines import queue
from pipeline.runs import Job, Stage

NOW = datetime.datetime(2026, 3, 31, 12, 30, tzinfo=datetime.UTC)


def job(number: int, asked: str, *, begun: str = "", ended: str = "", image: str = "", reused: bool = False) -> Job:
    stages = (Stage(name="build", started_at=f"2026-03-31T{begun}:00Z"),) if begun else ()
    return Job(run=f"r-{number}", project="shop", service="web", created_at=f"2026-03-31T{asked}:00Z", stages=stages,
               finished_at=f"2026-03-31T{ended}:00Z" if ended else "", image=image, reused=reused)  # fmt: skip


def test_an_hour_counts_those_that_waited_at_once_and_not_one_after_the_other() -> None:
    jobs = [
        job(1, "10:00", begun="10:10"), job(2, "10:10", begun="10:20"), job(3, "10:15", begun="11:30"),
        job(4, "11:50", ended="11:55"), job(5, "12:20"), job(6, "08:00", begun="08:00"),
    ]  # fmt: skip

    assert waited(jobs, now=NOW, hours=4) == [
        ("2026-03-31 09:00", 0), ("2026-03-31 10:00", 2), ("2026-03-31 11:00", 1), ("2026-03-31 12:00", 1),
    ]  # fmt: skip


def test_a_job_that_is_over_waits_no_longer_though_nothing_says_since_when() -> None:
    assert waited([replace(job(1, "10:00"), status="deployed")], now=NOW, hours=1) == [("2026-03-31 12:00", 0)]


def test_a_day_counts_what_was_known_what_was_built_and_nothing_that_failed() -> None:
    jobs = [job(1, "10:00", image="i", reused=True), job(2, "10:00", image="i"), job(3, "10:00", image="i"),
            job(4, "10:00")]  # fmt: skip

    assert cached(jobs, now=NOW, days=2) == [("2026-03-30", 0, 0), ("2026-03-31", 1, 2)]


def test_a_queue_of_nothing_is_drawn_and_told_too() -> None:
    length, spared = queue([])

    assert "in the last 24 hours at most 0 waited at once" in length
    assert "0 of 0 jobs in 14 days" in spared
