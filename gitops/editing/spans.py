"""YAML as a tree that knows where each scalar lies in the text, made from libyaml's events.

Values are never converted: a scalar is its text and its style. Events instead of composed nodes, because those recurse
in C, where a file of nothing but brackets ends the process; and because only events still tell an alias from a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml  # type: ignore[import-untyped]

from pipeline.errors import Invalid

LIMIT = 1 << 20
MAX_DEPTH = 100
BOM = "\ufeff"
# Written in C and twenty times as fast as the Python one; both give the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True, eq=False)
class Scalar:
    """One scalar; ``text[start:end]`` is all of it, with its anchor and tag, quotes or block header."""

    value: str
    style: str
    """"" for a plain one, else ``'``, ``"``, ``|`` or ``>``."""
    tag: str
    anchor: str
    start: int
    end: int
    aliases: int = 0


@dataclass(slots=True, eq=False)
class Mapping:
    """A mapping in the order of the file, doubled keys and all."""

    tag: str
    anchor: str
    flow: bool
    entries: list[tuple[Node, Node]] = field(default_factory=list)
    aliases: int = 0


@dataclass(slots=True, eq=False)
class Sequence:
    """A list."""

    tag: str
    anchor: str
    flow: bool
    items: list[Node] = field(default_factory=list)
    aliases: int = 0


@dataclass(slots=True, eq=False)
class Alias:
    """``*anchor``: another node's value, at a place of its own."""

    anchor: str
    aliases: int = 0


Node = Scalar | Mapping | Sequence | Alias


@dataclass(frozen=True, eq=False)
class Parsed:
    """A file's text without its byte order mark, and the root of each document; None for an empty one."""

    text: str
    bom: bool
    documents: tuple[Node | None, ...]

    def encoded(self, text: str) -> bytes:
        """Another text for this file, as bytes."""
        return ((BOM if self.bom else "") + text).encode()


def parse(data: bytes) -> Parsed:
    """Read a file. Raises Invalid, naming the line, for what is not UTF-8, not YAML, too large or too deep."""
    if len(data) > LIMIT:
        raise Invalid(f"larger than {LIMIT >> 10} KiB", reason="manifest_too_large")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"byte {error.start} is not UTF-8", reason="bad_yaml") from None
    plain = text.removeprefix(BOM)
    return Parsed(plain, plain != text, tuple(_documents(plain)))


def _documents(text: str) -> Iterator[Node | None]:
    try:
        builder = _Builder()
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
            if isinstance(event, yaml.DocumentEndEvent):
                yield builder.root
                builder = _Builder()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f"line {mark.line + 1} " if mark is not None else ""
        raise Invalid(f"{where}is not valid YAML", reason="bad_yaml") from None


class _Builder:
    """One document out of its events."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Mapping | Sequence] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            start, end = event.start_mark.index, event.end_mark.index
            style = event.style or ""
            # An empty value without a quote is null; its tag, anchor and place are all that there is of it.
            self._put(Scalar(event.value, style, event.tag or "", event.anchor or "", start, end))
        elif isinstance(event, yaml.MappingStartEvent):
            self._enter(Mapping(event.tag or "", event.anchor or "", bool(event.flow_style)))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._enter(Sequence(event.tag or "", event.anchor or "", bool(event.flow_style)))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._keys.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor)

    def _enter(self, node: Mapping | Sequence) -> None:
        self._put(node)
        if len(self._open) >= MAX_DEPTH:
            raise Invalid(f"nested deeper than {MAX_DEPTH} levels", reason="bad_yaml")
        self._open.append(node)
        self._keys.append(None)

    def _alias(self, anchor: str) -> None:
        if anchor not in self._anchors:
            raise Invalid(f"the alias *{anchor} stands for nothing", reason="bad_yaml")
        self._anchors[anchor].aliases += 1
        self._put(Alias(anchor))

    def _put(self, node: Node) -> None:
        if node.anchor and not isinstance(node, Alias):
            self._anchors[node.anchor] = node
        if not self._open:
            self.root = node
            return
        parent, key = self._open[-1], self._keys[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif key is None:
            self._keys[-1] = node
        else:
            parent.entries.append((key, node))
            self._keys[-1] = None
