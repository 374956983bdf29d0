"""A request that asks for something, under an id of its own: sent again with the same key, it is the same wish.

What was asked is kept as a hash with the event, so that a repeated request is known by what its sender said, whatever
has changed since; only a request that says something else is a mistake.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.entries import Entry
from pipeline.errors import Invalid, Refused
from pipeline.events import Event
from pipeline.names import token
from pipeline.store import Store

ASKED: Final = "Enclii-Asked"
KEY_LIMIT: Final = 128


@dataclass(frozen=True)
class Wish:
    """The id of the command to be, which event that is, and a hash of what was asked."""

    id: str
    subject: str
    digest: str
    keyed: bool


def wish(kind: type[Event], body: Mapping[str, Any], *, key: str, actor: str) -> Wish:
    """What ``actor`` asks for with ``body``. Raises Invalid for a key that is none."""
    identity = command_id(key, actor=actor, project=str(body.get("project") or ""))
    said = msgspec.json.encode([kind.type, body], order="sorted")
    subject = f"ev.{kind.type}.{token(identity)}"
    return Wish(identity, subject, hashlib.sha256(said).hexdigest(), bool(key))


def command_id(key: str, *, actor: str, project: str) -> str:
    """The command's id: the same for the same idempotency key of the same caller in a project, or a new one.

    Decisions of everything else have ids in the same place, so a caller must not be able to choose one. Raises Invalid.
    """
    if not key:
        return f"c-{uuid.uuid4()}"
    if len(key) > KEY_LIMIT or not key.isascii() or not key.isprintable() or " " in key:
        raise Invalid("Idempotency-Key: at most 128 printable characters without spaces", reason="bad_key")
    return "k-" + token(actor, project, key)


async def taken(store: Store, asked: Wish) -> Entry | None:
    """The event of this very request, if it was taken before. Raises Refused when its key was another request's."""
    entry = await store.bus.get(f"ev.*.*.{token(asked.id)}") if asked.keyed else None
    if entry is not None and (entry.subject, entry.headers.get(ASKED)) != (asked.subject, asked.digest):
        raise Refused("this Idempotency-Key was used for another request", reason="key_reused")
    return entry


async def publish(store: Store, event: Event, asked: Wish) -> None:
    """Publish once. Raises Refused when another request with the key was faster, and Unavailable."""
    if not await store.publish(event, headers={ASKED: asked.digest}):
        await taken(store, asked)
