"""What two YAML files say differently, value by value, and whether a value is read as a text.

The tag that a reader gives to a plain value depends on its YAML version; so a plain value counts as a text only where
every version agrees, and everything else counts as what it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from gitops.editing.spans import Mapping, Node, Parsed, Scalar, Sequence
from gitops.editing.yamlpath import Path

KEY = "(key)"
# A plain scalar that every YAML reader, 1.1 or 1.2, takes for the same string, in block and flow style alike.
_PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.+@:-]*(?<!:)")
_NOT_TEXT = re.compile(
    r"(?i:y|n|yes|no|on|off|true|false|null|nan|\.nan|[-+]?\.?inf)|[-+.0-9][-+.:_0-9eE]*|0[xob][0-9a-fA-F_]+|=|\.+"
)


@dataclass(frozen=True)
class Difference:
    """One place where two files mean different things; None stands for no single value."""

    path: Path
    old: str | None
    new: str | None


def is_plain(value: str) -> bool:
    """True for a text that needs no quotes anywhere."""
    return bool(_PLAIN.fullmatch(value)) and not _NOT_TEXT.fullmatch(value) and not value.startswith(("---", "..."))


def is_text(node: Scalar) -> bool:
    """True for a value that every reader takes for a text."""
    return bool(node.style) or is_plain(node.value)


def differences(before: Parsed, after: Parsed) -> Iterator[Difference]:
    """Where two files mean different things. Aliases are compared by name: what they stand for is compared too."""
    if len(before.documents) != len(after.documents):
        yield Difference((len(before.documents),), None, None)
    for number, (old, new) in enumerate(zip(before.documents, after.documents, strict=False)):
        yield from _differing(old, new, (number,))


def _differing(old: Node | None, new: Node | None, path: Path) -> Iterator[Difference]:
    if isinstance(old, Scalar) and isinstance(new, Scalar):
        if old.value != new.value or not _same(old, new) or _read(old) != _read(new):
            yield Difference(path, old.value, new.value)
    elif type(old) is not type(new):
        yield Difference(path, None, None)
    elif old is not None and new is not None:
        if not _same(old, new):
            yield Difference(path, None, None)
        for step, was, now in _children(old, new):
            yield from _differing(was, now, (*path, step))


def _same(old: Node, new: Node) -> bool:
    return old.anchor == new.anchor and getattr(old, "tag", "") == getattr(new, "tag", "")


def _read(node: Scalar) -> str:
    """How a value without a tag is read: quotes make a text of what would be a number, a truth value or nothing."""
    return "text" if is_text(node) else node.value


def _children(old: Node, new: Node) -> Iterator[tuple[str | int, Node | None, Node | None]]:
    if isinstance(old, Sequence) and isinstance(new, Sequence):
        for index, (was, now) in enumerate(zip_longest(old.items, new.items)):
            yield index, was, now
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for was_entry, now_entry in zip_longest(old.entries, new.entries, fillvalue=(None, None)):
            yield KEY, was_entry[0], now_entry[0]
            yield _name(was_entry[0]), was_entry[1], now_entry[1]


def _name(key: Node | None) -> str:
    return key.value if isinstance(key, Scalar) else KEY
