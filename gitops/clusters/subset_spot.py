"""A walk over a manifest that knows where it is, so that a refusal names the object and the path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitops.clusters import Document
from pipeline.errors import Invalid


@dataclass(frozen=True)
class Spot:
    """Where in the documents we are, for the words of a refusal."""

    what: str
    path: str = ""

    def __truediv__(self, key: str | int) -> Spot:
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.path else key
        return Spot(self.what, self.path + step)

    def refuse(self, why: str = "is not supported on podman", *, reason: str = "unsupported_manifest") -> Invalid:
        return Invalid(f"{self.what}: {self.path} {why}", reason=reason)

    def only(self, value: Any, allowed: frozenset[str]) -> Document:
        """``value`` as a mapping whose keys are all allowed, or a refusal of the first that is not."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.refuse("must be a mapping")
        for key in value:
            if key not in allowed:
                raise (self / str(key)).refuse()
        return value

    def items(self, value: Any) -> Iterator[tuple[Spot, Document]]:
        if value is not None and (isinstance(value, str | Mapping) or not isinstance(value, Sequence)):
            raise self.refuse("must be a list")
        for index, item in enumerate(value or ()):
            if not isinstance(item, Mapping):
                raise (self / index).refuse("must be a mapping")
            yield self / index, item


def name_of(document: Document) -> str:
    return str((document.get("metadata") or {}).get("name", "(unnamed)"))


def count(place: Spot, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise place.refuse("must be a whole number, 0 or more")
    return value


def port_number(place: Spot, value: Any, container: Document) -> int:
    if isinstance(value, str) and not value.isdigit():
        for item in container.get("ports") or ():
            if item.get("name") == value:
                return int(item["containerPort"])
        raise place.refuse(f"names the port {value!r}, which the container does not have")
    return count(place, int(value) if isinstance(value, str) else value)
