"""DORA's figures over deployments whose answers are known."""

from __future__ import annotations

import datetime

from console.figures import by_day, figures
from console.web.charts import bars, pipeline, share, time_line
from pipeline.records import Deployment, DeploymentStatus, Via

NOW = datetime.datetime(2026, 3, 31, 12, tzinfo=datetime.UTC)


def deployed(day: int, status: DeploymentStatus, *, via: Via = "push", minutes: int = 5, run: str = "r") -> Deployment:
    ran = f"2026-03-{day:02}T10:{minutes:02}:00Z" if status != "failed" else ""
    return Deployment(id=f"d-{day}", project="shop", environment="production", service="web", release="shop.web.v1",
                      image="i", status=status, via=via, run=run, created_at=f"2026-03-{day:02}T10:00:00Z",
                      running_at=ran)  # fmt: skip


def test_each_figure_is_what_one_would_count_by_hand() -> None:
    found = [deployed(10, "replaced"), deployed(11, "failed"), deployed(12, "rolled_back"),
             deployed(13, "running", via="rollback"), deployed(14, "held")]  # fmt: skip
    pushed = {"r": "2026-03-10T09:55:00Z"}

    one = figures(found, pushed, now=NOW)

    assert (one.changes, one.failed, round(one.a_week, 2)) == (3, 2, 0.7)
    assert one.failure_rate == 2 / 3
    assert one.lead == (600 + 2 * 86_400 + 600) / 2
    assert one.restore == 86_400 + 300


def test_of_nothing_there_is_no_figure() -> None:
    one = figures([], {}, now=NOW)

    assert (one.changes, one.lead, one.failure_rate, one.restore) == (0, None, None, None)


def test_days_without_a_deployment_are_there_and_older_ones_are_not() -> None:
    found = by_day([deployed(30, "running"), deployed(30, "failed"), deployed(1, "running")], now=NOW, days=3)

    assert found == [("2026-03-29", 0, 0), ("2026-03-30", 1, 1), ("2026-03-31", 0, 0)]


def test_a_picture_says_in_words_what_it_shows_and_can_act_in_no_browser() -> None:
    hostile = "<script>alert(1)</script>"
    drawn = [
        bars([(hostile, 1, 1)], title=hostile),
        time_line([("2026-03-30T10:00:00Z", hostile, hostile)], now=NOW, title=hostile),
        pipeline([(hostile, "done", hostile)], title=hostile),
        share(1, 2, title=hostile, of=hostile),
    ]

    assert all("<script" not in one and 'role="img"' in one and "style=" not in one for one in drawn)
    assert "2 deployments in 1 days, 1 of them failed." in drawn[0]
