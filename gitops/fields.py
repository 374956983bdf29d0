"""The fields of the YAML files that people write: read by name, and told by name when they are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.errors import Invalid

TEXT: Final = 1_000


@dataclass(frozen=True)
class File:
    """One kind of file, and the reason code of whatever is wrong in it. Every reader raises Invalid."""

    name: str
    reason: str
    most: int = 100  # items in a list

    def wrong(self, where: str, what: str) -> Invalid:
        """What is wrong with the field ``where``."""
        return Invalid(f"{self.name}: {where} {what}", reason=self.reason)

    def mapping(self, value: object, where: str, known: frozenset[str] | None = None) -> Mapping[str, Any]:
        """A mapping, empty when absent; of ``known`` keys only where they are given."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.wrong(where, "must be a mapping")
        for key in value:
            if known is not None and key not in known:
                raise self.wrong(where, f"has an unknown key {str(key)[:60]!r}; known are {', '.join(sorted(known))}")
        return value

    def items(self, value: object, where: str) -> list[Any]:
        """A list, empty when absent."""
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > self.most:
            raise self.wrong(where, f"must be a list of at most {self.most}")
        return value

    def names(self, value: object, where: str) -> tuple[str, ...]:
        """A list of printable texts, each once; empty when absent."""
        found = self.items(value, where)
        if not all(isinstance(one, str) and one.strip() and one.isprintable() and len(one) <= TEXT for one in found):
            raise self.wrong(where, "must be a list of names")
        return tuple(dict.fromkeys(found))

    def text(self, value: object, where: str) -> str:
        """A text on one line."""
        if not isinstance(value, str) or "\n" in value or len(value) > TEXT:
            raise self.wrong(where, "must be a text on one line")
        return value

    def switch(self, value: object, where: str) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            raise self.wrong(where, "must be true or false")
        return value


PROJECT: Final = File("project.yaml", "bad_project_file")
