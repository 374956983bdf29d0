"""Lists in pages, asked for again at the cost of an empty answer for each page that is as it was.

The tag of a list is the tags of all its pages: what changes behind the first page leaves the first one's as it was. A
last page that is full is followed by one more, whose tag tells when something came behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gitops.forge.door import Answer, fine

MOST: Final = 50
Ask = Callable[[str, str], Awaitable[Answer]]
"""Page ("1", "2", …) and tag to an answer."""


@dataclass(frozen=True)
class Listed:
    """All items, and the tag of what was said; ``changed`` is False, and the items none, when nothing did."""

    tag: str = ""
    items: tuple[Mapping[str, Any], ...] = ()
    changed: bool = True


async def listed(ask: Ask, what: str, *, size: int, tag: str = "") -> Listed:
    """Every page, unless each is as it was when ``tag`` was told. Raises as ``fine`` does."""
    if tag and await _same(ask, tag.split("\n")):
        return Listed(tag, (), changed=False)
    items: list[Mapping[str, Any]] = []
    tags: list[str] = []
    for page in range(1, MOST + 1):
        answer = await ask(str(page), "")
        found = list(fine(answer, what))
        items += found
        tags.append(answer.headers.get("etag", ""))
        if not answer.following and len(found) < size:
            break
    return Listed("\n".join(tags) if all(tags) else "", tuple(items))


async def _same(ask: Ask, tags: list[str]) -> bool:
    for page, tag in enumerate(tags, 1):
        if (await ask(str(page), tag)).status != 304:
            return False
    return True
