"""``notifications`` in ``project.yaml``: which destinations of this installation are told of what; none by default.

notifications:
  team-chat: [failure, recovery, hold]
  reviewers: [preview]
  metrics: [cdevents]
"""

from __future__ import annotations

from typing import Final

from gitops.fields import PROJECT
from pipeline import names
from pipeline.errors import EncliiError

KINDS: Final = ("failure", "recovery", "hold", "preview", "cdevents")


def read(value: object) -> dict[str, tuple[str, ...]]:
    """Destination → what it is told of. Raises Invalid whose text names the field."""
    return {_name(str(key)): _kinds(kinds, f"notifications.{key}") for key, kinds in _all(value)}


def _all(value: object) -> list[tuple[object, object]]:
    return list(PROJECT.mapping(value, "notifications").items())


def _name(text: str) -> str:
    try:
        return names.name(text, what="destination")
    except EncliiError as error:
        raise PROJECT.wrong("notifications", error.message) from None


def _kinds(value: object, where: str) -> tuple[str, ...]:
    found = PROJECT.names(value, where)
    if unknown := set(found) - set(KINDS):
        raise PROJECT.wrong(where, f"knows no {min(unknown)[:60]!r}; known are {', '.join(KINDS)}")
    return found
