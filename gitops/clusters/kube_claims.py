"""A document without the fields that another manager owns, by the paths in which the API server names them; pure."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from typing import Any

Step = str | dict[str, Any]
_KEYS = re.compile(r"\[((?:[^\]\"]|\"(?:[^\"\\]|\\.)*\")*)\]")
_PAIR = re.compile(r"([A-Za-z0-9]+)=(\"(?:[^\"\\]|\\.)*\"|[^,]+)")
OURS_ALONE = re.compile(
    r"\.spec(\.template(\.spec(\.containers(\[[^\]]*\](\.image)?)?)?)?)?$|\.metadata\.(labels|annotations)\.enclii\.dev/"
)
"""What a release is: left to somebody else, git would say nothing any more about what runs."""


def without(document: dict[str, Any], fields: Iterable[str]) -> dict[str, Any] | None:
    """A copy that does not ask for these fields; None when one of them cannot be left out."""
    found = copy.deepcopy(document)
    for field in fields:
        if OURS_ALONE.match(field) or not _taken_out(found, field):
            return None
    return found


def _taken_out(node: Any, path: str) -> bool:
    """Whether the field was there and is gone. Keys may hold dots, so the longest key that fits is taken."""
    if path.startswith("[") and isinstance(node, list):
        match = _KEYS.match(path)
        item = _named(node, match[1]) if match else None
        return (
            match is not None and item is not None and match.end() < len(path) and _taken_out(item, path[match.end() :])
        )
    if not path.startswith(".") or not isinstance(node, dict):
        return False
    rest = path[1:]
    fitting = [key for key in node if rest == key or rest.startswith((f"{key}.", f"{key}["))]
    for key in sorted(fitting, key=len, reverse=True):
        if rest == key:
            del node[key]
            return True
        if _taken_out(node[key], rest[len(key) :]):
            return True
    return False


def _named(items: list[Any], keys: str) -> Any:
    """The item of a list that has the values of ``name="web",port=80``."""
    wanted = {key: _value(text) for key, text in _PAIR.findall(keys)}
    fits = (
        item for item in items if isinstance(item, dict) and all(item.get(key) == text for key, text in wanted.items())
    )
    return next(fits, None) if wanted else None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
