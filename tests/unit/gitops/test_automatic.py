"""Which failures take their release back, and which are left to people."""

from __future__ import annotations

import datetime

import pytest
from msgspec.structs import replace

from gitops.rules.automatic import answer
from gitops.rules.freeze import stamp
from pipeline.promotions import AutomaticRollback
from pipeline.records import Deployment, Target

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
RULE = AutomaticRollback(within=1200)
PLACE = {"project": "shop", "environment": "production", "service": "web"}
FAILED = Deployment(id="d-2", **PLACE, release="shop.web.v2", image="i", status="failed")
TARGET = Target(**PLACE, deployment="d-2", release="shop.web.v2", image="i", sha="", config_commit="c")


def ago(seconds: float) -> datetime.datetime:
    return NOW - datetime.timedelta(seconds=seconds)


def degraded(running: float) -> Deployment:
    return replace(FAILED, status="degraded", running_at=stamp(ago(running)))


def test_a_release_that_never_came_up_is_taken_back_at_once() -> None:
    assert answer(RULE, FAILED, TARGET, seen_at=NOW, now=NOW).kind == "go"


def test_nothing_is_done_where_nobody_asked_for_it() -> None:
    assert answer(None, FAILED, TARGET, seen_at=NOW, now=NOW).kind == "nothing"


def test_what_is_degraded_gets_a_moment_to_recover() -> None:
    waits = answer(RULE, degraded(300), TARGET, seen_at=ago(10), now=NOW)

    assert (waits.kind, waits.delay) == ("wait", 20.0)
    assert answer(RULE, degraded(300), TARGET, seen_at=ago(31), now=NOW).kind == "go"


@pytest.mark.parametrize("status", ["running", "progressing", "rolled_back", "removed"])
def test_what_is_well_or_gone_by_now_is_left_alone(status: str) -> None:
    now_so = replace(FAILED, status=status)  # type: ignore[arg-type]

    assert answer(RULE, now_so, TARGET, seen_at=NOW, now=NOW).kind == "nothing"


def test_what_is_still_coming_up_is_not_settled() -> None:
    assert answer(RULE, replace(FAILED, status="degraded"), TARGET, seen_at=ago(60), now=NOW).kind == "nothing"


def test_a_newer_deployment_ends_the_matter() -> None:
    assert answer(RULE, FAILED, replace(TARGET, deployment="d-3"), seen_at=NOW, now=NOW).kind == "nothing"


@pytest.mark.parametrize(("deployment", "target", "seen", "reason"), [
    (replace(FAILED, via="rollback"), TARGET, NOW, "is_a_rollback"),
    (replace(FAILED, via="git", reverts="abc"), TARGET, NOW, "is_a_rollback"),
    (FAILED, replace(TARGET, held=True), NOW, "held"),
    (FAILED, TARGET, ago(1201), "too_old"),
    (degraded(3000), TARGET, ago(60), "ran_well"),
    (replace(FAILED, reason="rendered_elsewhere"), TARGET, NOW, "rendered_elsewhere"),
    (replace(FAILED, reason="no_unit"), TARGET, NOW, "no_unit"),
])  # fmt: skip
def test_what_people_must_decide_is_skipped_with_the_reason(
    deployment: Deployment, target: Target, seen: datetime.datetime, reason: str
) -> None:
    found = answer(RULE, deployment, target, seen_at=seen, now=NOW)

    assert (found.kind, found.reason) == ("skip", reason)
