"""The same story on a real Kubernetes that has no sync tool but ours."""

from __future__ import annotations

from pathlib import Path

from tests.support.cluster_story import connected, tell


def test_a_push_is_live_a_broken_one_degrades_and_a_rollback_is_live_again(tmp_path: Path) -> None:
    with connected(tmp_path, "own") as story:
        tell(story)
