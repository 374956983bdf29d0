"""The last release, as far as events go: the types that it reads, made of the JSON Schema that it left behind.

``tests/data/events/release.schema.json`` is written once for each release, right after its tag, and never between:
``python -m tests.support.former_release``. Before the first release it is that of the first version to come.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from pipeline.events import TYPES, Event
from tests.support.golden_events import RECORDED

SCHEMA = RECORDED / "release.schema.json"
PLAIN: Mapping[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}


def former_types() -> dict[str, type[Event]]:
    """By name, the event types that the last release knows, with the fields, values and versions that it knows."""
    left = json.loads(SCHEMA.read_text())
    made: dict[str, type[msgspec.Struct]] = {}
    return {
        kind: _event(kind, known["version"], left["$defs"][known["name"]], left["$defs"], made)
        for kind, known in left["types"].items()
    }


def _event(kind: str, version: int, schema: dict[str, Any], defs: dict[str, Any], made: dict[str, Any]) -> type[Event]:
    subject = {"subject": TYPES[kind].subject} if kind in TYPES else {}
    namespace = {"type": kind, "version": version, **subject}
    own = [one for one in _fields(schema, defs, made) if one[0] not in ("id", "at", "trace")]
    return msgspec.defstruct(
        schema["title"], own, bases=(Event,), namespace=namespace, frozen=True, kw_only=True, omit_defaults=True
    )


def _fields(schema: dict[str, Any], defs: dict[str, Any], made: dict[str, Any]) -> list[Any]:
    fields: list[Any] = []
    for name, stated in schema["properties"].items():
        meant = _type(stated, defs, made)
        fields.append((name, meant) if name in schema.get("required", ()) else (name, meant, _default(stated, meant)))
    return fields


def _default(stated: dict[str, Any], meant: Any) -> Any:
    value = msgspec.convert(stated["default"], meant)
    return msgspec.field(default_factory=type(value)) if isinstance(value, (dict, list)) else value


def _type(stated: dict[str, Any], defs: dict[str, Any], made: dict[str, Any]) -> Any:
    """What a value has to be: the few words of JSON Schema that msgspec writes for our fields."""
    if "$ref" in stated:
        name = stated["$ref"].rpartition("/")[2]
        if name not in made:
            made[name] = msgspec.defstruct(
                name, _fields(defs[name], defs, made), frozen=True, kw_only=True, omit_defaults=True
            )
        return made[name]
    if "anyOf" in stated:
        one, *others = (_type(part, defs, made) for part in stated["anyOf"])
        for other in others:
            one = one | other
        return one
    if "enum" in stated:
        return Literal[tuple(stated["enum"])]
    if "contentEncoding" in stated:
        return bytes
    if stated.get("type") == "array":
        return tuple[_type(stated["items"], defs, made), ...]
    if stated.get("type") == "object":
        return dict[str, _type(stated["additionalProperties"], defs, made)]  # type: ignore[misc]
    return PLAIN[stated["type"]] if "type" in stated else msgspec.Raw


def _schema() -> dict[str, Any]:
    types = {kind: {"name": one.__name__, "version": one.version} for kind, one in sorted(TYPES.items())}
    _, defs = msgspec.json.schema_components(TYPES.values(), ref_template="#/$defs/{name}")
    for stated in defs.values():
        stated.pop("description", None)
    return {"types": types, "$defs": dict(sorted(defs.items()))}


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(_schema(), indent=1) + "\n")
    sys.stdout.write(f"{SCHEMA} written\n")
