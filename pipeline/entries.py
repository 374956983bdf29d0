"""What is stored in a stream and what is to be: plain values without a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Entry:
    """A stored message: its bytes, where it stands, and the headers that it was written with."""

    subject: str
    data: bytes
    seq: int
    headers: Mapping[str, str] = field(default_factory=dict)


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


STREAM_OF: Final = {
    "hooks": "HOOKS", "ev": "PIPE", "st": "PIPE", "log": "LOGS", "web": "WEB", "login": "LOGIN", "audit": "AUDIT",
}  # fmt: skip


def stream_of(subject: str) -> str:
    """The stream that a subject is in."""
    root = subject.split(".", 1)[0]
    return STREAM_OF[root]
