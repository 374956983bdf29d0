"""What every event is: a frozen message about one thing, under one subject made of its id."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pipeline.names import token


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all events; ``id`` is the identity, and the idempotency key of what the event causes."""

    type: ClassVar[str] = ""
    version: ClassVar[int] = 1
    id: str
    at: str = ""
    trace: str = ""

    @property
    def subject(self) -> str:
        return f"ev.{self.type}.{token(self.id)}"

    def encode(self) -> bytes:
        return msgspec.json.encode(self)
