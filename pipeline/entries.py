"""What is stored in a stream and what is to be: plain values without a client."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Entry:
    """A stored message: its bytes, where it stands, the headers that it was written with, and when it was stored.

    ``at`` is RFC 3339 by the server's clock; "" where the message was read in a replay.
    """

    subject: str
    data: bytes
    seq: int
    headers: Mapping[str, str] = field(default_factory=dict)
    at: str = ""


def entry_of(message: Mapping[str, Any]) -> Entry:
    """A message as the server tells it."""
    headers = base64.b64decode(message.get("hdrs", "")).decode("utf-8", "replace")
    pairs = (line.split(":", 1) for line in headers.split("\r\n")[1:] if ":" in line)
    found = {key.strip(): value.strip() for key, value in pairs}
    data = base64.b64decode(message.get("data", ""))
    return Entry(message["subject"], data, int(message["seq"]), found, str(message.get("time", "")))


@dataclass(frozen=True)
class Write:
    """One message of a batch. ``expect``: the subject's last sequence; 0 = must not exist; None = whatever is there."""

    subject: str
    data: bytes
    expect: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """The headers with the expectation in the server's words."""
        found = dict(self.headers)
        if self.expect is not None:
            found["Nats-Expected-Last-Subject-Sequence"] = str(self.expect)
        return found


NANO: Final = 1_000_000_000
STREAMS: Final[dict[str, dict[str, Any]]] = {
    "HOOKS": {
        "subjects": ["hooks.>"],
        "discard": "new",
        "allow_atomic": True,
        "max_bytes": 2 << 30,
        "max_age": 30 * 86_400 * NANO,
    },
    "PIPE": {"subjects": ["ev.>", "st.>"], "discard": "old", "allow_atomic": True},
    "LOGS": {"subjects": ["log.>"], "discard": "new", "max_bytes": 4 << 30, "max_msgs_per_subject": -1},
    "WEB": {"subjects": ["web.>"], "discard": "old", "max_bytes": 64 << 20, "max_age": 31 * 86_400 * NANO},
    # Who leads: in memory, for a lease is over anyway when all servers were away.
    "LEASES": {"subjects": ["lease.>"], "storage": "memory", "discard": "old"},
    # What strangers can make us write, apart: filling it up drops logins that wait, and nobody's session.
    "LOGIN": {"subjects": ["login.>"], "discard": "old", "max_bytes": 16 << 20, "max_age": 3_600 * NANO},
}
AUDIT: Final[dict[str, Any]] = {
    "subjects": ["audit.>"], "discard": "new", "deny_delete": True, "deny_purge": True,
}  # fmt: skip
"""Made with ``max_age`` beside it: as long as the installation is told to keep its audit."""
STREAM_OF: Final[dict[str, str]] = {"audit": "AUDIT"} | {
    subject.partition(".")[0]: stream for stream, config in STREAMS.items() for subject in config["subjects"]
}


def stream_of(subject: str) -> str:
    """The stream that a subject is in."""
    root = subject.split(".", 1)[0]
    return STREAM_OF[root]
