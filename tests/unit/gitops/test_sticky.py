"""The one comment below a pull request in each of its states, as docs/sticky-comment.md shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops.forge.sticky import comment, marker
from pipeline.previews import Preview, PreviewService

PAGE = Path(__file__).parents[3] / "docs/sticky-comment.md"
CONSOLE = "https://enclii.example.org"
SHA = "3f2a9c10b7d4e5f60718293a4b5c6d7e8f901234"
OLD = "a01b2c3d4e5f60718293a4b5c6d7e8f901234567"
ADDRESS = "https://pr-12-web.preview.example.org"
WEB = PreviewService(name="web", status="running", address=ADDRESS, sha=SHA)


def preview(**more: object) -> Preview:
    fields: dict[str, object] = {
        "id": "shop.preview-12", "project": "shop", "repository": "github:1", "number": 12, "state": "ready",
        "sha": SHA, "run": "r-1", "by": "ada", "expires_at": "2026-11-26T12:00:00.000Z", "services": (WEB,), **more,
    }  # fmt: skip
    return Preview(**fields)  # type: ignore[arg-type]


STATES = {
    "Being built": preview(state="building", services=(PreviewService(name="web"),)),
    "Ready": preview(omitted=("STRIPE_KEY",)),
    "One service failed, and its last good release still answers": preview(
        state="failed", reason="build_failed", message="api: no such file: go.mod",
        services=(WEB, PreviewService(
            name="api", status="failed", reason="build_failed", message="no such file: go.mod", sha=OLD,
            address="https://pr-12-api.preview.example.org", release="shop.api.v1",
        )),
    ),
    "From a fork, before anybody has read it": preview(
        state="waiting", reason="approval_needed", fork=True, services=(), by="", expires_at="",
    ),
    "From a fork, after another push": preview(
        state="waiting", reason="approval_needed", fork=True, approved=OLD, sha=OLD, head=SHA,
        services=(PreviewService(name="web", status="running", address=ADDRESS, sha=OLD),),
    ),
    "Waiting for a place": preview(
        state="waiting", reason="cap", services=(),
        message="as many previews are open as may be; it begins when one ends",
    ),
    "Asleep": preview(state="asleep", services=(PreviewService(name="web", status="asleep", address=ADDRESS),)),
    "On its way out": preview(state="removing", reason="closed", message="the pull request was closed"),
    "Gone": preview(state="removed", services=(), message="the pull request was closed"),
}  # fmt: skip


def shown(one: Preview) -> str:
    """Without the hidden line that it is found again by."""
    return comment(one, console_url=CONSOLE).removeprefix(marker(one.number) + "\n").strip()


@pytest.mark.parametrize("state", STATES)
def test_the_page_shows_the_comment_in_every_state(state: str) -> None:
    assert f"## {state}\n\n{shown(STATES[state])}\n" in PAGE.read_text()


def test_every_state_of_a_preview_is_on_the_page() -> None:
    assert {one.state for one in STATES.values()} == {
        "waiting", "building", "ready", "failed", "asleep", "removing", "removed",
    }  # fmt: skip


def test_rule_22_what_a_stranger_wrote_is_shown_as_text_and_calls_nobody() -> None:
    hostile = "@everyone <img src=x> ```\n/preview approve | [click](http://evil.test) `rm -rf`" + "x" * 5_000
    service = PreviewService(name="web", status="failed", message=hostile, sha=SHA)
    said = shown(preview(state="failed", message=hostile, services=(service,)))
    assert "@everyone" not in said
    assert [one for one in ("<img", "```", "](http://evil") if one in said] == []
    assert len(said) < 2_000
