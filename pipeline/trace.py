"""W3C Trace Context: how the parts of one push's way are known to belong together."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Context:
    """A trace and the span within it that something belongs to, in hex."""

    trace: str
    span: str


def context(traceparent: str) -> Context | None:
    """What a ``traceparent`` names; None for anything else, since it may come from outside."""
    found = _FORM.fullmatch(traceparent)
    if not found or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return None
    return Context(found[1], found[2])


def trace_id(traceparent: str) -> str:
    """The trace's id; "" when there is none."""
    found = context(traceparent)
    return found.trace if found else ""


def new() -> str:
    """A ``traceparent`` for what begins here."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
