"""GitHub's webhooks: the signature's header, and what each event says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingest.hooks import GUID, KIND, Forge, Given, Headers, Said, header, hex_digest, login
from pipeline.errors import Invalid
from pipeline.forge_events import PullRequestAction
from pipeline.names import BRANCH_PREFIX, ref, sha
from pipeline.said import BODY_LIMIT, CheckSaid, CommentSaid, PullSaid

ACTIONS: dict[str, PullRequestAction] = {
    "opened": "opened",
    "synchronize": "pushed",
    "reopened": "reopened",
    "closed": "closed",
    "converted_to_draft": "drafted",
    "ready_for_review": "readied",
}


class _Repository(msgspec.Struct):
    id: int
    full_name: str = ""


class _Account(msgspec.Struct):
    login: str = ""
    type: str = "User"


class _Any(msgspec.Struct):
    action: str = ""
    repository: _Repository | None = None
    sender: _Account | None = None


class _Ping(_Any):
    zen: str = msgspec.field(default="")
    hook_id: int | None = None


class _Push(msgspec.Struct):
    ref: str
    before: str
    after: str
    repository: _Repository
    sender: _Account | None = None


class _End(msgspec.Struct):
    ref: str
    sha: str
    repo: _Repository | None = None


class _Pull(msgspec.Struct):
    number: int
    state: str
    head: _End
    base: _End
    draft: bool = False
    merged: bool | None = False
    user: _Account | None = None
    updated_at: str = ""


class _PullEvent(msgspec.Struct):
    action: str
    pull_request: _Pull
    repository: _Repository
    sender: _Account | None = None
    changes: dict[str, Any] = {}


class _Issue(msgspec.Struct):
    number: int
    state: str = "open"
    pull_request: dict[str, Any] | None = None


class _Comment(msgspec.Struct):
    id: int
    body: str | None = None
    user: _Account | None = None
    created_at: str = ""
    performed_via_github_app: dict[str, Any] | None = None


class _CommentEvent(msgspec.Struct):
    action: str
    issue: _Issue
    comment: _Comment
    repository: _Repository
    sender: _Account | None = None


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
    repository: _Repository
    requested_action: _Button | None = None
    sender: _Account | None = None


class _Deleted(msgspec.Struct):
    ref: str
    ref_type: str
    repository: _Repository
    sender: _Account | None = None


def given(headers: Headers, _: float) -> Given:
    """``X-Hub-Signature-256``; the older SHA-1 header proves nothing."""
    text = headers.get("x-hub-signature-256", "")
    return Given(hex_digest(text[7:]) if text.startswith("sha256=") else ())


def read(headers: Headers, body: bytes) -> Sequence[Said]:
    """One delivery. Raises Invalid, or msgspec's error for a body that is no such event."""
    kind = header(headers, "x-github-event", KIND)
    guid = header(headers, "x-github-delivery", GUID).lower()
    return [_READERS.get(kind, _other)(body, kind, guid)]


def origin(repository: _Repository | None) -> dict[str, Any]:
    """The repository by its numeric id, and what it is called at the moment."""
    if repository is None:
        return {}
    return {"repository": f"github:{repository.id}", "name": repository.full_name}


def _actor(account: _Account | None) -> str:
    return login(account.login if account else "")


def _push(body: bytes, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Push)
    return Said(
        kind, guid, **origin(event.repository), actor=_actor(event.sender), ref=ref(event.ref),
        before=sha(event.before), after=sha(event.after),
    )  # fmt: skip


def _ping(body: bytes, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Ping)
    if event.hook_id is None or not event.zen:
        raise Invalid("a ping has a zen and a hook_id", reason="bad_payload")
    return Said(kind, guid, **origin(event.repository), actor=_actor(event.sender))


def _pull_request(body: bytes, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_PullEvent)
    action = "edited" if event.action == "edited" and "base" in event.changes else ACTIONS.get(event.action)
    pull = _described(event.pull_request, event.repository) if action else None
    return Said(
        kind, guid, **origin(event.repository), actor=_actor(event.sender), action=action or event.action, pull=pull
    )


def _described(pull: _Pull, here: _Repository) -> PullSaid:
    source = pull.head.repo
    return PullSaid(
        number=pull.number, state="open" if pull.state == "open" else "closed", head=sha(pull.head.sha),
        branch=_branch(pull.head.ref), base=_branch(pull.base.ref), draft=pull.draft, merged=bool(pull.merged),
        # A head whose repository is gone must count as a fork: nobody can say any more whose it was.
        fork=source is None or source.id != here.id, source=f"github:{source.id}" if source else "",
        author=_actor(pull.user), updated_at=pull.updated_at[:40],
    )  # fmt: skip


def _branch(name: str) -> str:
    return ref(BRANCH_PREFIX + name).removeprefix(BRANCH_PREFIX)


def _comment(body: bytes, _: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_CommentEvent)
    common = origin(event.repository)
    if event.action not in {"created", "edited", "deleted"}:
        raise Invalid("a comment is created, edited or deleted", reason="bad_payload")
    said = event.comment
    bot = said.user is None or said.user.type != "User" or said.performed_via_github_app is not None
    comment = CommentSaid(
        id=str(said.id), number=event.issue.number, action=event.action,  # type: ignore[arg-type]
        author=_actor(said.user), body=(said.body or "")[:BODY_LIMIT], bot=bot,
        open=event.issue.state == "open", created_at=said.created_at[:40],
    )  # fmt: skip
    about = comment if event.issue.pull_request is not None else None
    return Said("comment", guid, **common, actor=_actor(event.sender), action=event.action, comment=about)


def _check_run(body: bytes, kind: str, guid: str) -> Said:
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
        kind, guid, **origin(event.repository), actor=_actor(event.sender), action=event.action[:40], check=wish
    )


def _delete(body: bytes, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Deleted)
    prefix = BRANCH_PREFIX if event.ref_type == "branch" else "refs/tags/"
    return Said(kind, guid, **origin(event.repository), actor=_actor(event.sender), ref=ref(prefix + event.ref))


def _other(body: bytes, kind: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Any)
    return Said(kind, guid, **origin(event.repository), actor=_actor(event.sender), action=event.action[:40])


_READERS: dict[str, Callable[[bytes, str, str], Said]] = {
    "push": _push,
    "ping": _ping,
    "pull_request": _pull_request,
    "issue_comment": _comment,
    "check_run": _check_run,
    "delete": _delete,
}
FORGE = Forge("github", given, read)
