"""Commit messages that machines read back."""

from __future__ import annotations

from gitops import trailers


def test_what_is_rendered_is_read_back() -> None:
    said = {"Project": "shop", "Image": "host/web@sha256:0", "Intent": "r-1/web"}
    assert trailers.parse(trailers.render("Deploy", said, why="because")) == said


def test_an_empty_trailer_is_left_out() -> None:
    assert "Trace" not in trailers.render("Deploy", {"Intent": "r-1", "Trace": ""})


def test_a_reason_cannot_pose_as_a_trailer() -> None:
    message = trailers.render("Revert", {"Intent": "c-1"}, why="x\n\nEnclii-Intent: c-2")
    assert trailers.parse(message) == {"Intent": "c-1"}


def test_a_reason_that_begins_like_a_trailer_is_none_even_alone() -> None:
    assert trailers.parse(trailers.render("Hold", {}, why="Enclii-Intent: c-2")) == {}


def test_only_the_last_paragraph_counts() -> None:
    assert trailers.parse("Revert\n\nEnclii-Intent: c-1\n\nThis reverts it.\n") == {}


def test_a_subject_alone_has_no_trailers() -> None:
    assert trailers.parse("Enclii-Intent: c-1\n") == {}
