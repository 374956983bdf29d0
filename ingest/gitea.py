"""Gitea's and Forgejo's webhooks, which follow GitHub's with headers of their own and a few other words.

They send GitHub's headers too, which is why the path says who is speaking. A hook without a secret sends the headers
empty: that proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from ingest import hub
from ingest.hooks import GUID, KIND, Forge, Given, Headers, Said, branch, header, hex_digest
from pipeline.forge_events import PullRequestAction
from pipeline.names import sha
from pipeline.said import BODY_LIMIT, CommentSaid, PullSaid

_ACTIONS: dict[str, PullRequestAction] = {
    "opened": "opened",
    "synchronized": "pushed",
    "synchronize": "pushed",
    "reopened": "reopened",
    "closed": "closed",
}
_DRAFT = re.compile(r"\s*(?:\[WIP\]|WIP:)", re.IGNORECASE)
"""What a title begins with while its pull request is a draft; that is all there is."""


class _Pull(msgspec.Struct):
    number: int
    state: str
    head: hub.End
    base: hub.End
    title: str = ""
    draft: bool | None = None
    merged: bool = False
    user: hub.Account | None = None
    updated_at: str = ""


class _PullEvent(msgspec.Struct):
    action: str
    pull_request: _Pull
    repository: hub.Repository
    sender: hub.Account | None = None
    changes: dict[str, Any] | None = None


class _Comment(msgspec.Struct):
    id: int
    body: str = ""
    user: hub.Account | None = None
    created_at: str = ""


class _CommentEvent(msgspec.Struct):
    action: str
    issue: hub.Issue
    comment: _Comment
    repository: hub.Repository
    sender: hub.Account | None = None
    is_pull: bool = False


def given(headers: Headers, _: float) -> Given:
    """Forgejo's own header, or Gitea's: bare hex."""
    return Given(hex_digest(headers.get("x-forgejo-signature") or headers.get("x-gitea-signature") or ""))


def read(forge: str, headers: Headers, body: bytes) -> Sequence[Said]:
    """One delivery. Raises Invalid, or msgspec's error for a body that is no such event."""
    mine = "forgejo" if "x-forgejo-event" in headers else "gitea"
    kind = header(headers, f"x-{mine}-event", KIND)
    guid = header(headers, f"x-{mine}-delivery", GUID).lower()
    return [_READERS.get(kind, hub.other)(body, forge, kind, guid)]


def _pull_request(body: bytes, forge: str, _: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_PullEvent)
    action = _action(event)
    pull = described(event.pull_request, event.repository, forge) if action else None
    return Said(
        "pull_request", guid, **hub.origin(forge, event.repository), actor=hub.actor(event.sender),
        action=action or event.action[:40], pull=pull,
    )  # fmt: skip


def _action(event: _PullEvent) -> PullRequestAction | None:
    changes = event.changes or {}
    if event.action != "edited":
        return _ACTIONS.get(event.action)
    if "ref" in changes:
        return "edited"
    before = changes.get("title")
    old = str(before.get("from", "")) if isinstance(before, dict) else event.pull_request.title
    if bool(_DRAFT.match(old)) == _is_draft(event.pull_request):
        return None
    return "drafted" if _is_draft(event.pull_request) else "readied"


def _is_draft(pull: _Pull) -> bool:
    return bool(_DRAFT.match(pull.title)) if pull.draft is None else pull.draft


def described(pull: _Pull, here: hub.Repository, forge: str) -> PullSaid:
    """A pull request in our words."""
    source = pull.head.repo
    return PullSaid(
        number=pull.number, state="open" if pull.state == "open" else "closed",
        head=sha(pull.head.sha) if pull.head.sha else "", branch=branch(pull.head.ref), base=branch(pull.base.ref),
        fork=source is None or source.id != here.id, source=f"{forge}:{source.id}" if source else "",
        draft=_is_draft(pull), merged=pull.merged, author=hub.actor(pull.user), updated_at=pull.updated_at[:40],
    )  # fmt: skip


def _comment(body: bytes, forge: str, _: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_CommentEvent)
    about = None
    if event.action in {"created", "edited", "deleted"} and (event.is_pull or event.issue.pull_request is not None):
        about = CommentSaid(
            id=str(event.comment.id), number=event.issue.number, action=event.action,  # type: ignore[arg-type]
            author=hub.actor(event.comment.user), body=event.comment.body[:BODY_LIMIT],
            bot=event.comment.user is None or event.comment.user.login.endswith("[bot]"),
            open=event.issue.state == "open", created_at=event.comment.created_at[:40],
        )  # fmt: skip
    common = hub.origin(forge, event.repository)
    return Said("comment", guid, **common, actor=hub.actor(event.sender), action=event.action[:40], comment=about)


_READERS: dict[str, Callable[[bytes, str, str, str], Said]] = {
    "push": hub.push,
    "pull_request": _pull_request,
    "pull_request_sync": _pull_request,
    "issue_comment": _comment,
    "pull_request_comment": _comment,
    "delete": hub.delete,
}
GITEA = Forge("gitea", given, partial(read, "gitea"))
FORGEJO = Forge("forgejo", given, partial(read, "forgejo"))
