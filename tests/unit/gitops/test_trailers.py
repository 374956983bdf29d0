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


def test_a_reason_cannot_pose_as_an_applications_commit() -> None:
    message = trailers.render("Revert", {"Intent": "c-1"}, why="Argocd-reference-commit-sha: 00000")
    assert "\nArgocd" not in message


def test_only_the_last_paragraph_counts() -> None:
    assert trailers.parse("Revert\n\nEnclii-Intent: c-1\n\nThis reverts it.\n") == {}


def test_a_subject_alone_has_no_trailers() -> None:
    assert trailers.parse("Enclii-Intent: c-1\n") == {}


def test_argo_cd_s_reference_stands_with_the_trailers_and_is_none_of_ours() -> None:
    message = trailers.render("Deploy", {"Intent": "r-1"}, reference={"sha": "0" * 40, "subject": "a\nb", "date": ""})

    assert message.endswith(f"Argocd-reference-commit-sha: {'0' * 40}\nArgocd-reference-commit-subject: a b\n")
    assert trailers.parse(message) == {"Intent": "r-1"}
