"""What is kept of dead containers."""

from __future__ import annotations

from gitops.syncing.live import DEAD_LINES, MOST_LINES, last_lines


def test_a_wordy_container_leaves_the_others_their_last_lines() -> None:
    wordy = [f"web-0 {number}" for number in range(3 * DEAD_LINES)]

    kept = last_lines(["web-1 no such table: users", *wordy])

    assert kept == ("web-1 no such table: users", *wordy[-DEAD_LINES:])


def test_what_is_kept_of_all_has_an_end() -> None:
    lines = [f"web-{container} {number}" for container in range(20) for number in range(DEAD_LINES)]

    assert last_lines(lines) == tuple(lines[-MOST_LINES:])
