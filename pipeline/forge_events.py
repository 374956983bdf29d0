"""What forges say of pull requests, in one form: nothing behind the forge's own process knows which forge it was.

A repository is named as in ``records.Repository``, by the forge's own number ("github:123456"), so that it stays the
same when it is renamed. Texts of people travel as they were written; who shows them makes them harmless.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pipeline.event import Event
from pipeline.said import CheckSaid

PullRequestAction = Literal["opened", "pushed", "edited", "drafted", "readied", "closed", "reopened", "moved", "read"]
"""``pushed``: another head; ``moved``: to another repository; ``read``: found by asking the forge."""


class PullRequestChanged(Event, frozen=True, kw_only=True):
    """How a pull request stands after something happened to it; the state counts, the action only explains."""

    type: ClassVar[str] = "pull_request.changed"
    forge: str
    repository: str  # the base's, by number: with ``number`` the pull request's identity
    number: int
    action: PullRequestAction
    state: Literal["open", "closed"]
    head: str  # full commit id
    head_ref: str  # branch name in the head's repository
    head_repository: str = ""  # "" when it is gone, which makes it a fork
    base: str = ""  # branch name
    fork: bool = True
    draft: bool = False
    merged: bool = False
    author: str = ""
    actor: str = ""
    updated_at: str = ""  # by the forge's clock


class CommentPosted(Event, frozen=True, kw_only=True):
    """Somebody wrote under a pull request. ``body`` is as written: see the grammar in ``pipeline/comments.py``."""

    type: ClassVar[str] = "comment.posted"
    forge: str
    repository: str
    number: int
    comment: str  # the comment's id, as the forge has it
    author: str
    body: str
    edited: bool = False
    bot: bool = False
    pull_request: bool = True  # False: under a plain issue
    open: bool = True
    created_at: str = ""  # by the forge's clock


class CheckAsked(Event, frozen=True, kw_only=True):
    """Somebody pressed a button of one of our checks."""

    type: ClassVar[str] = "check.asked"
    forge: str
    repository: str
    check: CheckSaid
    actor: str = ""


class BranchDeleted(Event, frozen=True, kw_only=True):
    """A branch is gone."""

    type: ClassVar[str] = "branch.deleted"
    forge: str
    repository: str
    branch: str
    actor: str = ""


class RepositoryMoved(Event, frozen=True, kw_only=True):
    """A repository has another name or owner; its number is the same."""

    type: ClassVar[str] = "repository.moved"
    forge: str
    repository: str
    name: str
    actor: str = ""
