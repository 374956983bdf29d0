"""Bitbucket Cloud's webhooks: SHA-256 under the older header's name, several branches in one push, short commit ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingest.hooks import GUID, Forge, Given, Headers, Said, branch, header, hex_digest, login
from pipeline.forge_events import PullRequestAction
from pipeline.names import BRANCH_PREFIX, SHA, ref, sha
from pipeline.said import BODY_LIMIT, CommentSaid, PullSaid

_EVENT = re.compile(r"[a-z_]{1,32}:[a-z_]{1,32}")
_ACTIONS: dict[str, PullRequestAction] = {
    "pullrequest:created": "opened",
    "pullrequest:updated": "pushed",
    "pullrequest:fulfilled": "closed",
    "pullrequest:rejected": "closed",
}
_COMMENTS = {"created": "created", "updated": "edited", "deleted": "deleted"}
NOTHING = "0" * 40


class _Repository(msgspec.Struct):
    uuid: str
    full_name: str = ""


class _Actor(msgspec.Struct):
    nickname: str = ""
    username: str = ""
    type: str = "user"


class _Commit(msgspec.Struct):
    hash: str


class _State(msgspec.Struct):
    type: str
    name: str
    target: _Commit


class _Change(msgspec.Struct):
    new: _State | None = None
    old: _State | None = None


class _Changes(msgspec.Struct):
    changes: tuple[_Change, ...]


class _PushEvent(msgspec.Struct):
    push: _Changes
    repository: _Repository
    actor: _Actor | None = None


class _Branch(msgspec.Struct):
    name: str


class _End(msgspec.Struct):
    branch: _Branch
    commit: _Commit | None = None
    repository: _Repository | None = None


class _Pull(msgspec.Struct):
    id: int
    state: str
    source: _End
    destination: _End
    draft: bool = False
    author: _Actor | None = None
    updated_on: str = ""


class _PullEvent(msgspec.Struct):
    pullrequest: _Pull
    repository: _Repository
    actor: _Actor | None = None


class _Content(msgspec.Struct):
    raw: str = ""


class _Comment(msgspec.Struct):
    id: int
    content: _Content
    user: _Actor | None = None
    created_on: str = ""


class _CommentEvent(msgspec.Struct):
    comment: _Comment
    pullrequest: _Pull
    repository: _Repository
    actor: _Actor | None = None


class _Any(msgspec.Struct):
    repository: _Repository | None = None
    actor: _Actor | None = None


def given(headers: Headers, _: float) -> Given:
    """``X-Hub-Signature: sha256=…``; absent when the hook has no secret."""
    text = headers.get("x-hub-signature", "")
    return Given(hex_digest(text[7:]) if text.startswith("sha256=") else ())


def read(headers: Headers, body: bytes) -> Sequence[Said]:
    """A delivery for each branch or tag that a push moved, else one. Raises Invalid or msgspec's error."""
    key = header(headers, "x-event-key", _EVENT)
    guid = header(headers, "x-request-uuid", GUID).lower()
    if key == "repo:push":
        return _push(body, guid)
    return [(_READERS.get(key.partition(":")[0], _other))(body, key, guid)]


def _origin(repository: _Repository | None) -> dict[str, Any]:
    if repository is None:
        return {}
    return {"repository": f"bitbucket:{repository.uuid.strip('{}')[:64]}", "name": repository.full_name}


def _actor(actor: _Actor | None) -> str:
    return login((actor.nickname or actor.username) if actor else "")


def _push(body: bytes, guid: str) -> list[Said]:
    event = msgspec.json.decode(body, type=_PushEvent)
    found = []
    for number, change in enumerate(event.push.changes[:100]):
        state = change.new or change.old
        if state is None:
            continue
        prefix = BRANCH_PREFIX if state.type in {"branch", "named_branch"} else "refs/tags/"
        found.append(
            Said(
                "push", f"{guid}:{number}" if number else guid, **_origin(event.repository), actor=_actor(event.actor),
                ref=ref(prefix + state.name), before=sha(change.old.target.hash) if change.old else NOTHING,
                after=sha(change.new.target.hash) if change.new else NOTHING,
            )
        )  # fmt: skip
    return found or [Said("push_of_nothing", guid, **_origin(event.repository), actor=_actor(event.actor))]


def _pull_request(body: bytes, key: str, guid: str) -> Said:
    if key.startswith("pullrequest:comment_"):
        return _comment(body, key, guid)
    action = _ACTIONS.get(key)
    if action is None:
        return _other(body, key, guid)
    event = msgspec.json.decode(body, type=_PullEvent)
    common = _origin(event.repository) | {"actor": _actor(event.actor)}
    return Said("pull_request", guid, **common, action=action, pull=described(event.pullrequest, event.repository))


def described(pull: _Pull, here: _Repository) -> PullSaid:
    """A pull request in our words; its head is unknown when Bitbucket tells the short form, as it does in webhooks."""
    source, head = pull.source.repository, pull.source.commit.hash if pull.source.commit else ""
    return PullSaid(
        number=pull.id, state="open" if pull.state == "OPEN" else "closed", head=head if SHA.fullmatch(head) else "",
        branch=branch(pull.source.branch.name), base=branch(pull.destination.branch.name),
        fork=source is None or source.uuid != here.uuid,
        source=f"bitbucket:{source.uuid.strip('{}')}" if source else "", draft=pull.draft,
        merged=pull.state == "MERGED", author=_actor(pull.author), updated_at=pull.updated_on[:40],
    )  # fmt: skip


def _comment(body: bytes, key: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_CommentEvent)
    action = _COMMENTS.get(key.removeprefix("pullrequest:comment_"), "edited")
    user = event.comment.user
    about = CommentSaid(
        id=str(event.comment.id), number=event.pullrequest.id, action=action, author=_actor(user),  # type: ignore[arg-type]
        body=event.comment.content.raw[:BODY_LIMIT], bot=user is None or user.type != "user",
        open=event.pullrequest.state == "OPEN", created_at=event.comment.created_on[:40],
    )  # fmt: skip
    return Said("comment", guid, **_origin(event.repository), actor=_actor(event.actor), action=action, comment=about)


def _other(body: bytes, key: str, guid: str) -> Said:
    event = msgspec.json.decode(body, type=_Any)
    return Said(key.replace(":", "_"), guid, **_origin(event.repository), actor=_actor(event.actor))


_READERS: dict[str, Callable[[bytes, str, str], Said]] = {"pullrequest": _pull_request}
FORGE = Forge("bitbucket", given, read)
