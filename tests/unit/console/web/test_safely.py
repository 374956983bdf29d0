"""What a program printed, made fit for a page."""

from __future__ import annotations

import html

from console.web import safely


def test_escape_sequences_are_shown_and_colours_dropped() -> None:
    assert safely.line("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2J") == "red \\x1b]0;title\\x07\\x1b[2J"


def test_text_that_would_run_backwards_is_shown() -> None:
    assert "\u202e" not in safely.line("abc\u202edef")


def test_a_megabyte_in_one_line_is_cut_and_says_so() -> None:
    shown = safely.line("x" * 1_000_000)

    assert shown.startswith("x" * safely.LONGEST)
    assert "998000 more characters" in shown
    assert len(shown) < safely.LONGEST + 100


def test_the_newest_lines_that_fit_are_kept() -> None:
    lines = [{"text": f"line {number}"} for number in range(10_000)]

    kept, dropped = safely.newest(lines)

    assert kept[-1]["text"] == "line 9999"
    assert len(kept) + dropped == 10_000
    assert sum(len(one["text"]) for one in kept) < safely.BUDGET


def test_what_grows_by_being_escaped_counts_as_it_is_sent() -> None:
    kept, _ = safely.newest([{"text": "<" * 1_000} for _ in range(100)])

    assert sum(len(html.escape(one["text"])) for one in kept) <= safely.BUDGET
