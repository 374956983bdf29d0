"""How a value reaches the cluster: sealed, by request and reply over core NATS, stored by nothing on its way.

The CLI seals and the process that owns the cluster opens; the API between them sees neither value nor key.
"""

from __future__ import annotations

from typing import Final

import msgspec

KEY_SUBJECT: Final = "rq.secrets.key"
STORE_SUBJECT: Final = "rq.secrets.store"
VALUE_LIMIT: Final = 32 << 10


class StoreSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Keep this as a new version. ``after``: a version that is known to exist, to look for a free number behind."""

    project: str
    environment: str
    service: str
    name: str
    sealed: bytes
    after: int = 0


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of it; with ``reason``, why nothing did. ``retry``: it may be asked again."""

    number: int = 0
    key: bytes = b""
    reason: str = ""
    message: str = ""
    retry: bool = False


def context(project: str, environment: str, service: str, name: str) -> bytes:
    """What a value is sealed for: one secret of one service in one environment."""
    return "\x00".join(("enclii secret", project, environment, service, name)).encode()
