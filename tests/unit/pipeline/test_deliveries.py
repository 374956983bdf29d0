"""What a delivery means where it is no push."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.deliveries import MARKER, gone, meaning
from pipeline.events import BranchDeleted, CheckAsked, CommentPosted, Delivery, PullRequestChanged, RepositoryMoved
from pipeline.said import CheckSaid, CommentSaid, PullSaid

COMMENT = CommentSaid(id="7", number=3, action="created", author="ada", body="\n/preview\nplease")
SAID = Delivery(id="github:h:1", forge="github", kind="comment", repository="github:42", hook="h", comment=COMMENT)


def test_a_command_has_the_comment_s_own_identity() -> None:
    found = meaning(SAID)
    again = meaning(replace(SAID, id="github:other:2"))
    assert found is not None
    assert again is not None
    assert isinstance(found.event, CommentPosted)
    assert found.event.subject == again.event.subject  # type: ignore[union-attr]
    assert (found.event.id, found.event.repository) == ("github:42/comment/7", "github:42")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"action": "edited"}, "comment_edited"),
        ({"action": "deleted"}, "comment_deleted"),
        ({"bot": True}, "comment_by_bot"),
        ({"open": False}, "pull_request_closed"),
        ({"body": f"{MARKER}:pr=3 -->\n/preview"}, "own_comment"),
        ({"body": "> /preview"}, "no_command"),
        ({"body": "```\n/preview\n```"}, "no_command"),
        ({"body": "<!--\n/preview -->"}, "no_command"),
        ({"body": "/usr/bin/preview"}, "no_command"),
        ({"body": ""}, "no_command"),
    ],
)
def test_rules_2_and_3_what_is_no_command_says_why(changed: dict[str, Any], reason: str) -> None:
    found = meaning(replace(SAID, comment=replace(COMMENT, **changed)))
    assert found is not None
    assert (found.outcome, found.reason, found.event) == ("skipped", reason, None)


def test_every_other_kind_becomes_its_event() -> None:
    pull = PullSaid(number=3, state="closed")
    check = CheckSaid(sha="a" * 40, name="enclii/preview")
    cases: list[tuple[Delivery, type]] = [
        (replace(SAID, kind="pull_request", action="closed", pull=pull), PullRequestChanged),
        (replace(SAID, kind="check_run", check=check), CheckAsked),
        (replace(SAID, kind="delete", ref="refs/heads/topic"), BranchDeleted),
        (replace(SAID, kind="repository", action="transferred", name="new/shop"), RepositoryMoved),
    ]
    found = [meaning(delivery) for delivery, _ in cases]
    assert [type(one.event) for one in found if one] == [kind for _, kind in cases]
    assert isinstance(gone(replace(SAID, kind="push", ref="refs/heads/x", after="0" * 40)), BranchDeleted)


def test_what_changes_nothing_is_decided_too() -> None:
    other = CheckSaid(sha="a" * 40, name="somebody-else's")
    for delivery in (
        replace(SAID, kind="pull_request", action="labeled"),
        replace(SAID, kind="check_run", check=other),
        replace(SAID, kind="delete", ref="refs/tags/v1"),
        replace(SAID, kind="repository", action="edited"),
        replace(SAID, comment=None),
    ):
        found = meaning(delivery)
        assert found is not None
        assert (found.outcome, found.event) == ("skipped", None)
    assert meaning(replace(SAID, kind="push")) is None
