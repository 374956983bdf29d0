"""The difference between an object as it is and as a dry run says it would be, in lines for people; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

NOISE = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
LONGEST = 120


def changes(what: str, now: Any, then: Any) -> tuple[str, ...]:
    """One line for each field that would change; ``now`` is None for an object that is not there."""
    if now is None:
        return (f"+ {what}",)
    return tuple(f"~ {what} {line}" for line in _fields("", now, then))


def _fields(path: str, now: Any, then: Any) -> Iterator[str]:
    if now == then:
        return
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for key in sorted({*now, *then}):
            if key not in NOISE and (path or key != "status"):
                yield from _fields(f"{path}.{key}", now.get(key), then.get(key))
    elif isinstance(now, list) and isinstance(then, list):
        yield from _items(path, now, then)
    else:
        yield f"{path}: {_short(now)} -> {_short(then)}"


def _items(path: str, now: list[Any], then: list[Any]) -> Iterator[str]:
    """Lists of named things are compared by name, others by place."""
    if all(isinstance(item, Mapping) and "name" in item for item in (*now, *then)):
        before, after = ({str(item["name"]): item for item in some} for some in (now, then))
        for name in sorted({*before, *after}):
            yield from _fields(f"{path}[{name}]", before.get(name), after.get(name))
        return
    for index in range(max(len(now), len(then))):
        old = now[index] if index < len(now) else None
        new = then[index] if index < len(then) else None
        yield from _fields(f"{path}[{index}]", old, new)


def _short(value: Any) -> str:
    if value is None:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
