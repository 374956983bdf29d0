"""GitHub's webhooks: the signature's header, and what each event says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingest import hub
from ingest.hooks import GUID, KIND, Forge, Given, Headers, Said, branch, header, hex_digest
from pipeline.errors import Invalid
from pipeline.forge_events import PullRequestAction
from pipeline.names import sha
from pipeline.said import BODY_LIMIT, CheckSaid, CommentSaid, PullSaid

ACTIONS: dict[str, PullRequestAction] = {
    "opened": "opened",
    "synchronize": "pushed",
    "reopened": "reopened",
    "closed": "closed",
    "converted_to_draft": "drafted",
    "ready_for_review": "readied",
}


class _Ping(hub.Unread):
    zen: str = msgspec.field(default="")
    hook_id: int | None = None


class _Pull(msgspec.Struct):
    number: int
    state: str
    head: hub.End
    base: hub.End
    draft: bool = False
    merged: bool | None = False
    user: hub.Account | None = None
    updated_at: str = ""


class _PullEvent(msgspec.Struct):
    action: str
    pull_request: _Pull
    repository: hub.Repository
    sender: hub.Account | None = None
    changes: dict[str, Any] = {}


class _Comment(msgspec.Struct):
    id: int
    body: str | None = None
    user: hub.Account | None = None
    created_at: str = ""
    performed_via_github_app: dict[str, Any] | None = None


class _CommentEvent(msgspec.Struct):
    action: str
    issue: hub.Issue
    comment: _Comment
    repository: hub.Repository
    sender: hub.Account | None = None


class _Numbered(msgspec.Struct):
    number: int


class _CheckRun(msgspec.Struct):
    name: str
    head_sha: str
    pull_requests: tuple[_Numbered, ...] = ()


class _Button(msgspec.Struct):
    identifier: str = ""


class _CheckEvent(msgspec.Struct):
    action: str
    check_run: _CheckRun
    repository: hub.Repository
    requested_action: _Button | None = None
    sender: hub.Account | None = None


def given(headers: Headers, _: float) -> Given:
    """``X-Hub-Signature-256``; the older SHA-1 header proves nothing."""
    text = headers.get("x-hub-signature-256", "")
    return Given(hex_digest(text[7:]) if text.startswith("sha256=") else ())


def read(headers: Headers, body: bytes) -> Sequence[Said]:
    """One delivery. Raises Invalid, or msgspec's error for a body that is no such event."""
    kind = header(headers, "x-github-event", KIND)
    guid = header(headers, "x-github-delivery", GUID).lower()
    return [_READERS.get(kind, hub.other)(body, "github", kind, guid)]


def _ping(body: bytes, _: str, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Ping)
    if event.hook_id is None or not event.zen:
        raise Invalid("a ping has a zen and a hook_id", reason="bad_payload")
    return Said(kind, guid, **hub.origin("github", event.repository), actor=hub.actor(event.sender))


def _pull_request(body: bytes, _: str, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_PullEvent)
    action = "edited" if event.action == "edited" and "base" in event.changes else ACTIONS.get(event.action)
    pull = _described(event.pull_request, event.repository) if action else None
    return Said(
        kind,
        guid,
        **hub.origin("github", event.repository),
        actor=hub.actor(event.sender),
        action=action or event.action,
        pull=pull,
    )


def _described(pull: _Pull, here: hub.Repository) -> PullSaid:
    source = pull.head.repo
    return PullSaid(
        number=pull.number, state="open" if pull.state == "open" else "closed", head=sha(pull.head.sha),
        branch=branch(pull.head.ref), base=branch(pull.base.ref), draft=pull.draft, merged=bool(pull.merged),
        # A head whose repository is gone must count as a fork: nobody can say any more whose it was.
        fork=source is None or source.id != here.id, source=f"github:{source.id}" if source else "",
        author=hub.actor(pull.user), updated_at=pull.updated_at[:40],
    )  # fmt: skip


def _comment(body: bytes, _: str, __: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_CommentEvent)
    common = hub.origin("github", event.repository)
    if event.action not in {"created", "edited", "deleted"}:
        raise Invalid("a comment is created, edited or deleted", reason="bad_payload")
    said = event.comment
    bot = said.user is None or said.user.type != "User" or said.performed_via_github_app is not None
    comment = CommentSaid(
        id=str(said.id), number=event.issue.number, action=event.action,  # type: ignore[arg-type]
        author=hub.actor(said.user), body=(said.body or "")[:BODY_LIMIT], bot=bot,
        open=event.issue.state == "open", created_at=said.created_at[:40],
    )  # fmt: skip
    about = comment if event.issue.pull_request is not None else None
    return Said("comment", guid, **common, actor=hub.actor(event.sender), action=event.action, comment=about)


def _check_run(body: bytes, _: str, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_CheckEvent)
    wish = None
    if event.action in {"rerequested", "requested_action"}:
        wish = CheckSaid(
            sha=sha(event.check_run.head_sha), name=event.check_run.name[:200],
            action=(event.requested_action.identifier if event.requested_action else "")[:20],
            numbers=tuple(one.number for one in event.check_run.pull_requests[:100]),
            bot=event.sender is None or event.sender.type != "User",
        )  # fmt: skip
    return Said(
        kind,
        guid,
        **hub.origin("github", event.repository),
        actor=hub.actor(event.sender),
        action=event.action[:40],
        check=wish,
    )


_READERS: dict[str, Callable[[bytes, str, str, str], Said]] = {
    "push": hub.push,
    "ping": _ping,
    "pull_request": _pull_request,
    "issue_comment": _comment,
    "check_run": _check_run,
    "delete": hub.delete,
}
FORGE = Forge("github", given, read)
