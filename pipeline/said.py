"""What one webhook says of a pull request, comment or check, in words that are no forge's own: part of a delivery.

All of it is a hint: whoever acts asks the forge again. Times are the forge's, not a commit's, which anybody can forge.
"""

from __future__ import annotations

from typing import Literal

import msgspec

CommentAction = Literal["created", "edited", "deleted"]
BODY_LIMIT = 4_096
"""Characters kept of a comment: commands are on its first line, and the rest is free text."""


class PullSaid(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pull request (merge request) as its forge described it."""

    number: int
    state: Literal["open", "closed"]
    head: str = ""  # full commit id; "" when the forge told a short one: ask it
    branch: str = ""  # the head's branch, in its own repository
    base: str = ""  # the branch that it is to be merged into
    fork: bool = True  # its commits are in another repository, or in one that is gone
    source: str = ""  # that repository by the forge's own id, "github:123456"; "" when it is gone
    draft: bool = False
    merged: bool = False
    author: str = ""
    updated_at: str = ""  # set by the forge's server


class CommentSaid(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A comment below a pull request."""

    id: str  # the forge's own, unique within the repository
    number: int  # of the pull request
    action: CommentAction
    author: str
    body: str = ""
    bot: bool = False
    open: bool = True  # the pull request is
    created_at: str = ""


class CheckSaid(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody pressed a button of a check: run it again (no ``action``), or one that the check offered."""

    sha: str
    name: str
    action: str = ""
    numbers: tuple[int, ...] = ()  # pull requests with that head
    bot: bool = False
