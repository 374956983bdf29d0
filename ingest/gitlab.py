"""GitLab's webhooks: the signing token (Standard Webhooks) or the older secret token, and what each event says.

Answers 2xx to what is of no interest: after four failures in a row GitLab pauses a hook, after forty it ends it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingest.hooks import Forge, Given, Headers, Said, branch, header, login
from pipeline.forge_events import PullRequestAction
from pipeline.names import ref, sha
from pipeline.said import BODY_LIMIT, CommentSaid, PullSaid

TOLERANCE = 300.0
_EVENT = re.compile(r"[A-Za-z ]{1,64}")
_UUID = re.compile(r"[A-Za-z0-9-]{8,64}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_ACTIONS: dict[str, PullRequestAction] = {"open": "opened", "close": "closed", "merge": "closed", "reopen": "reopened"}


class _Project(msgspec.Struct):
    id: int
    path_with_namespace: str = ""


class _User(msgspec.Struct):
    username: str = ""


class _Any(msgspec.Struct):
    object_kind: str = ""
    project: _Project | None = None
    user: _User | None = None


class _Push(msgspec.Struct):
    ref: str
    before: str
    after: str
    project: _Project
    user_username: str = ""


class _Commit(msgspec.Struct):
    id: str


class _Merge(msgspec.Struct):
    iid: int
    source_project_id: int | None
    target_project_id: int
    source_branch: str
    target_branch: str
    state: str
    action: str = ""
    oldrev: str = ""
    draft: bool = False
    work_in_progress: bool = False
    last_commit: _Commit | None = None
    updated_at: str = ""


class _MergeEvent(msgspec.Struct):
    object_attributes: _Merge
    project: _Project
    user: _User | None = None
    changes: dict[str, Any] = {}


class _Note(msgspec.Struct):
    id: int
    note: str
    noteable_type: str
    action: str = "create"
    created_at: str = ""
    system: bool = False


class _NoteEvent(msgspec.Struct):
    object_attributes: _Note
    project: _Project
    user: _User | None = None
    merge_request: _Merge | None = None


def signing_token(secret: bytes) -> str:
    """A hook's secret as GitLab's signing token wants it: 32 bytes in base64."""
    return "whsec_" + base64.b64encode(bytes.fromhex(secret.decode())).decode()


def given(headers: Headers, now: float) -> Given:
    """The signature where there is one, and then nothing else counts; else the secret token."""
    if "webhook-signature" in headers:
        return _signed(headers, now)
    return Given(token=headers.get("x-gitlab-token", "").encode())


def _signed(headers: Headers, now: float) -> Given:
    identity, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not identity or "." in identity or not _SECONDS.fullmatch(at) or abs(now - int(at)) > TOLERANCE:
        return Given()
    digests = [_decoded(one[3:]) for one in headers["webhook-signature"].split(" ") if one.startswith("v1,")]
    return Given(tuple(one for one in digests if len(one) == 32), f"{identity}.{at}.".encode(), _key)


def _key(secret: bytes) -> bytes:
    try:
        return bytes.fromhex(secret.decode())
    except ValueError:
        return secret


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def read(headers: Headers, body: bytes) -> Sequence[Said]:
    """One delivery. Raises Invalid, or msgspec's error for a body that is no such event."""
    header(headers, "x-gitlab-event", _EVENT)
    again = headers.get("idempotency-key", "") or headers.get("x-gitlab-event-uuid", "")
    guid = header({"idempotency-key": again}, "idempotency-key", _UUID).lower()
    # The header is signed by nobody: the body says what it is.
    kind = msgspec.json.decode(body, type=_Any).object_kind
    return [_READERS.get(kind, _other)(body, guid)]


def _origin(project: _Project | None) -> dict[str, Any]:
    return {"repository": f"gitlab:{project.id}", "name": project.path_with_namespace} if project else {}


def _actor(user: _User | None) -> str:
    return login(user.username if user else "")


def _push(body: bytes, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Push)
    return Said(
        "push", guid, **_origin(event.project), actor=login(event.user_username), ref=ref(event.ref),
        before=sha(event.before), after=sha(event.after),
    )  # fmt: skip


def _merge_request(body: bytes, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_MergeEvent)
    action = _action(event)
    pull = described(event.object_attributes, _actor(event.user)) if action else None
    return Said(
        "pull_request", guid, **_origin(event.project), actor=_actor(event.user),
        action=action or event.object_attributes.action[:40], pull=pull,
    )  # fmt: skip


def _action(event: _MergeEvent) -> PullRequestAction | None:
    said = event.object_attributes
    if said.action != "update":
        return _ACTIONS.get(said.action)
    if said.oldrev:  # there only when commits changed
        return "pushed"
    if "target_branch" in event.changes:
        return "edited"
    draft = event.changes.get("draft") or event.changes.get("work_in_progress")
    if isinstance(draft, dict) and "current" in draft:
        return "drafted" if draft["current"] in (True, "true") else "readied"
    return None


def described(said: _Merge, author: str) -> PullSaid:
    """A merge request in our words."""
    gone = said.source_project_id is None
    return PullSaid(
        number=said.iid, state="open" if said.state in {"opened", "locked"} else "closed",
        head=sha(said.last_commit.id) if said.last_commit else "", branch=branch(said.source_branch),
        base=branch(said.target_branch), fork=gone or said.source_project_id != said.target_project_id,
        source="" if gone else f"gitlab:{said.source_project_id}", draft=said.draft or said.work_in_progress,
        merged=said.state == "merged", author=author, updated_at=said.updated_at[:40],
    )  # fmt: skip


def _note(body: bytes, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_NoteEvent)
    said, merge = event.object_attributes, event.merge_request
    action = "created" if said.action == "create" else "edited"
    about = None
    if merge is not None and said.noteable_type == "MergeRequest":
        about = CommentSaid(
            id=str(said.id), number=merge.iid, action=action, author=_actor(event.user),  # type: ignore[arg-type]
            body=said.note[:BODY_LIMIT], bot=said.system or _is_bot(event.user), open=merge.state == "opened",
            created_at=said.created_at[:40],
        )  # fmt: skip
    return Said("comment", guid, **_origin(event.project), actor=_actor(event.user), action=action, comment=about)


def _is_bot(user: _User | None) -> bool:
    """Access tokens of projects and groups act as accounts that GitLab names so."""
    return user is None or re.fullmatch(r"(?:project|group)_\d+_bot(?:_[0-9a-f]+)?", user.username) is not None


def _other(body: bytes, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Any)
    kind = event.object_kind if re.fullmatch(r"[a-z_]{1,64}", event.object_kind) else "other"
    return Said(kind, guid, **_origin(event.project), actor=_actor(event.user))


_READERS: dict[str, Callable[[bytes, str], Said]] = {
    "push": _push,
    "tag_push": _push,
    "merge_request": _merge_request,
    "note": _note,
}
FORGE = Forge("gitlab", given, read)
