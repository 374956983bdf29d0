"""A document against the few words of JSON Schema that a custom resource's schema is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def problems(value: Any, schema: Mapping[str, Any], where: str = "spec") -> Iterator[str]:
    """What is wrong; a field that the schema does not know is, for an API server would drop it."""
    wanted = schema["type"]
    if not isinstance(value, TYPES[wanted]) or (wanted == "integer" and isinstance(value, bool)):
        yield f"{where} is no {wanted}"
        return
    if _outside(value, schema):
        yield f"{where} is {value!r}"
    if isinstance(value, dict):
        yield from (f"{where}.{key} is missing" for key in schema.get("required", ()) if key not in value)
        for key, item in value.items():
            known = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            yield from problems(item, known, f"{where}.{key}") if known else [f"{where}.{key} is unknown"]
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(item, schema["items"], f"{where}[{index}]")


def _outside(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether it is none of the values that are allowed, too small, too short, or in another form."""
    return (
        ("enum" in schema and value not in schema["enum"])
        or ("pattern" in schema and not re.search(schema["pattern"], value))
        or ("minimum" in schema and value < schema["minimum"])
        or len(value if isinstance(value, str | list) else ()) < schema.get("minLength", schema.get("minItems", 0))
    )
