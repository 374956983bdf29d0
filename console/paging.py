"""Cursor pagination: a page says where the following one begins, and what is added meanwhile moves nothing.

A cursor is the place of the last entry that was shown, not a count: so no entry is shown twice or left out, whatever
is written between two pages.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Final

from pipeline.errors import Invalid

LONGEST: Final = 1_000


def cursor(*place: str) -> str:
    """What names the place in an address."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place(text: str, parts: int) -> tuple[str, ...] | None:
    """The place that a cursor names; None for the beginning. Raises Invalid."""
    if not text:
        return None
    try:
        if len(text) > LONGEST or not text.isascii():
            raise ValueError(text)
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if len(found) != parts or not all(isinstance(part, str) for part in found):
            raise ValueError(text)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise Invalid("cursor: one that an answer's next gave", reason="bad_cursor") from None
    return tuple(found)


def following(place: tuple[str, ...] | None) -> dict[str, str]:
    """``next``, as every list has it: the following page's cursor, "" after the last."""
    return {"next": cursor(*place) if place else ""}
