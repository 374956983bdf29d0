"""What GitHub's webhooks say in the same words as those of forges that follow it: shapes, and the plain events."""

from __future__ import annotations

from typing import Any

import msgspec

from ingest.hooks import Said, login
from pipeline.names import BRANCH_PREFIX, ref, sha


class Repository(msgspec.Struct):
    id: int
    full_name: str = ""


class Account(msgspec.Struct):
    login: str = ""
    type: str = "User"


class Unread(msgspec.Struct):
    """An event of which no more is read than where it comes from."""

    action: str = ""
    repository: Repository | None = None
    sender: Account | None = None


class Push(msgspec.Struct):
    ref: str
    before: str
    after: str
    repository: Repository
    sender: Account | None = None


class Deleted(msgspec.Struct):
    ref: str
    ref_type: str
    repository: Repository
    sender: Account | None = None


class End(msgspec.Struct):
    """Where a pull request comes from, or goes."""

    ref: str
    sha: str = ""
    repo: Repository | None = None


class Issue(msgspec.Struct):
    number: int
    state: str = "open"
    pull_request: dict[str, Any] | None = None


def origin(forge: str, repository: Repository | None) -> dict[str, Any]:
    """The repository by its numeric id, and what it is called at the moment."""
    return {"repository": f"{forge}:{repository.id}", "name": repository.full_name} if repository else {}


def actor(account: Account | None) -> str:
    """Who did it."""
    return login(account.login if account else "")


def push(body: bytes, forge: str, kind: str, guid: str) -> Said:
    """A branch or tag that moved."""
    event = msgspec.json.decode(body, type=Push)
    return Said(
        kind, guid, **origin(forge, event.repository), actor=actor(event.sender), ref=ref(event.ref),
        before=sha(event.before), after=sha(event.after),
    )  # fmt: skip


def delete(body: bytes, forge: str, kind: str, guid: str) -> Said:
    """A branch or tag that is gone."""
    event = msgspec.json.decode(body, type=Deleted)
    prefix = BRANCH_PREFIX if event.ref_type == "branch" else "refs/tags/"
    return Said(kind, guid, **origin(forge, event.repository), actor=actor(event.sender), ref=ref(prefix + event.ref))


def other(body: bytes, forge: str, kind: str, guid: str) -> Said:
    """Whatever else is told: it is recorded, and ignored."""
    event = msgspec.json.decode(body, type=Unread)
    return Said(kind, guid, **origin(forge, event.repository), actor=actor(event.sender), action=event.action[:40])
