"""Plain data as YAML in one fixed form, so that the same input always gives the same bytes and no diff is noise.

Mappings keep the order they were given, lists are indented below their key, and a string that YAML could read as
anything but itself is written as JSON writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.errors import Invalid

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"})
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def document(value: Mapping[str, Any], *, header: str = "") -> bytes:
    """``value`` as one YAML document, below a comment line. Raises Invalid for what plain YAML cannot hold."""
    lines = [f"# {header}"] if header else []
    lines += _mapping(value, "") if value else ["{}"]
    try:
        return ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError:
        raise Invalid("a value is not valid Unicode", reason="bad_text") from None


def scalar(value: object) -> str:
    """One value as YAML on one line. Raises Invalid for a type that has no plain form."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value, allow_nan=False)
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)
    raise Invalid(f"a {type(value).__name__} has no plain YAML form", reason="bad_value")


def _quoted(text: str) -> str:
    # JSON leaves a few characters bare that YAML's double quotes must escape.
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        yield from _entry(f"{indent}{scalar(key)}:", item, indent)


def _entry(lead: str, item: object, indent: str) -> Iterator[str]:
    if isinstance(item, Mapping):
        if not item:
            yield f"{lead} {{}}"
            return
        yield lead
        yield from _mapping(item, indent + "  ")
    elif isinstance(item, Sequence) and not isinstance(item, str | bytes):
        if not item:
            yield f"{lead} []"
            return
        yield lead
        yield from _sequence(item, indent + "  ")
    else:
        yield f"{lead} {scalar(item)}"


def _sequence(value: Sequence[Any], indent: str) -> Iterator[str]:
    for item in value:
        if isinstance(item, Mapping) and item:
            first, *rest = _mapping(item, indent + "  ")
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from rest
        elif isinstance(item, Mapping):
            yield f"{indent}- {{}}"
        elif isinstance(item, Sequence) and not isinstance(item, str | bytes):
            raise Invalid("a list directly inside a list is not written", reason="bad_value")
        else:
            yield f"{indent}- {scalar(item)}"
