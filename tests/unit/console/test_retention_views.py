"""A plan of retention as lines: short for a screen, whole for who must find the manifest."""

from __future__ import annotations

import msgspec

from console import retention_views
from pipeline.retention_plan import Line, RetentionPlan

DIGEST = "sha256:" + "a" * 64
PLAN = msgspec.to_builtins(RetentionPlan(
    shed=1, kept=1, frees=2048,
    lines=(
        Line(repository="shop/web", digest=DIGEST, tags=("v1", "old"), size=2048, keep=False, why="not live"),
        Line(repository="shop/web", digest=DIGEST.replace("a", "b"), tags=(), size=10, keep=True, why="live"),
    ),
))  # fmt: skip


def test_a_line_is_short_for_a_screen() -> None:
    first = retention_views.plan(PLAN).splitlines()[0]
    assert first == f"shed  shop/web  {DIGEST[:19]}  2.0 KiB  not live"


def test_wide_has_whole_digests_and_tags() -> None:
    first, second, _ = retention_views.plan(PLAN, wide=True).splitlines()
    assert first == f"shed  shop/web  {DIGEST}  v1,old  2.0 KiB  not live"
    assert second.split()[2:] == [DIGEST.replace("a", "b"), "-", "10", "B", "live"]


def test_an_empty_plan_is_its_sum() -> None:
    empty = msgspec.to_builtins(RetentionPlan())
    assert retention_views.plan(empty, wide=True) == "0 to shed, 0 to keep; 0 B would be freed"
