"""Manifests as the values that Kubernetes reads from them, so that our own apply sends what kubectl and Argo CD would.

Kubernetes reads YAML 1.1 as Go does: ``0644`` is octal, ``yes`` is true, ``1:30`` and a date are texts, and an alias
brings in a copy. ``gitops.editing.spans`` reads the text; here it becomes plain data, of a size that is bounded:
aliases of aliases may stand for more than any memory holds.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

from gitops.editing import spans
from gitops.editing.spans import Alias, Mapping, Node, Scalar, Sequence
from pipeline.errors import Invalid

MOST_VALUES = 100_000
MERGE = "<<"
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_WHOLE = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 40
_WIDEST = 1 << 63
_TAG = "tag:yaml.org,2002:"
TEXT, BINARY = f"{_TAG}str", f"{_TAG}binary"
_TYPES: dict[str, type[Any] | tuple[type[Any], ...]] = {
    f"{_TAG}int": int,
    f"{_TAG}float": (int, float),
    f"{_TAG}bool": bool,
    f"{_TAG}null": type(None),
}


def documents(data: bytes) -> list[Any]:
    """The value of each document. Raises Invalid that names the line, or what is wrong."""
    return [_Reader().value(root) for root in spans.parse(data).documents]


class _Reader:
    """One document; it keeps what anchors stand for, and counts."""

    def __init__(self) -> None:
        self._anchors: dict[str, Node] = {}
        self._inside: list[Node] = []
        self._left = MOST_VALUES

    def value(self, node: Node | None) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _invalid(f"its aliases stand for more than {MOST_VALUES} values")
        if isinstance(node, Alias):
            return self.value(self._meant(node))
        if node is None:
            return None
        if node.anchor:
            self._anchors[node.anchor] = node
        if isinstance(node, Scalar):
            return scalar(node)
        self._inside.append(node)
        found = self._list(node) if isinstance(node, Sequence) else self._mapping(node)
        self._inside.pop()
        return found

    def _meant(self, alias: Alias) -> Node:
        node = self._anchors[alias.anchor]
        if any(node is one for one in self._inside):
            raise _invalid(f"the alias *{alias.anchor} lies in what it stands for")
        return node

    def _list(self, node: Sequence) -> list[Any]:
        return [self.value(item) for item in node.items]

    def _mapping(self, node: Mapping) -> dict[str, Any]:
        """What stands later wins, a merge key too: that is how Kubernetes has it."""
        found: dict[str, Any] = {}
        own: set[str] = set()
        for key, item in node.entries:
            if isinstance(key, Scalar) and key.value == MERGE and not key.style:
                found |= self._merged(item)
                continue
            name = _key(self.value(key))
            if name in own:
                raise _invalid(f"the key {name[:80]!r} is there twice")
            own.add(name)
            found[name] = self.value(item)
        return found

    def _merged(self, item: Node) -> dict[str, Any]:
        """Of several mappings the first has the say."""
        value = self.value(item)
        found: dict[str, Any] = {}
        for one in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(one, dict):
                raise _invalid("a merge key brings in what is no mapping")
            found |= one
        return found


def scalar(node: Scalar) -> Any:
    """The value of a scalar, by its tag or, where it has neither tag nor quotes, by its look."""
    if node.tag == BINARY:
        return _binary(node.value)
    if node.tag in _TYPES:
        return _typed(node.value, node.tag)
    if node.tag not in ("", "!", TEXT):
        raise _invalid(f"the tag {node.tag[:80]} is unknown")
    return node.value if node.style or node.tag else plain(node.value)


def plain(text: str) -> Any:
    """What a plain value is read as."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    digits = text.replace("_", "")
    if text.startswith("_") or len(digits) > _LONGEST_NUMBER:
        return text
    if _WHOLE.fullmatch(digits):
        return _whole(digits)
    if _FLOAT.fullmatch(digits) and math.isfinite(number := float(digits)):
        return int(number) if number.is_integer() and abs(number) < _WIDEST else number
    return text


def _whole(digits: str) -> int | float:
    """What needs more than 64 bits is no whole number any more."""
    sign, body = (-1 if digits[0] == "-" else 1), digits.lstrip("+-")
    octal = len(body) > 1 and body[0] == "0" and body[1].isdigit()
    found = sign * int(body, 8 if octal else 0)
    return found if -_WIDEST <= found < _WIDEST else float(found)


def _typed(text: str, tag: str) -> Any:
    found = plain(text)
    if not isinstance(found, _TYPES[tag]):
        raise _invalid(f"{text[:80]!r} is no {tag.rpartition(':')[2]}")
    return found


def _binary(text: str) -> str:
    try:
        return base64.b64decode(text).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _invalid("a !!binary value is no text in base64") from None


def _key(value: Any) -> str:
    """JSON has keys of text alone."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise _invalid("a key is neither a text nor a number")


def _invalid(what: str) -> Invalid:
    return Invalid(what, reason="bad_yaml")
