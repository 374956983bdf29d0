"""Log lines for a page: what a program printed can neither act in a browser nor make a page endless."""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Iterable
from typing import Final

from console.texts import printable

LONGEST: Final = 2_000
BUDGET: Final = 48_000
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")


def line(text: str) -> str:
    """One line: colours are dropped, other control characters shown, and a long one is cut and says so."""
    shown = printable(_COLOUR.sub("", text[: 2 * LONGEST]).rstrip("\r"))
    cut = max(len(text) - 2 * LONGEST, 0) + max(len(shown) - LONGEST, 0)
    return f"{shown[:LONGEST]} … {cut} more characters: enclii logs shows them" if cut else shown


def newest(lines: Iterable[dict[str, str]], budget: int = BUDGET) -> tuple[list[dict[str, str]], int]:
    """The last lines whose text fits in ``budget`` bytes of HTML, and how many were left out before them."""
    kept: deque[dict[str, str]] = deque()
    size = dropped = 0
    for one in lines:
        kept.append(one)
        size += _bytes(one)
        while size > budget and len(kept) > 1:
            size -= _bytes(kept.popleft())
            dropped += 1
    return list(kept), dropped


def _bytes(one: dict[str, str]) -> int:
    """With what the element around a line takes."""
    return len(html.escape(one["text"]).encode("utf-8", "replace")) + 120
