"""A document against the few words of JSON Schema that a custom resource's schema is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES: Mapping[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def problems(value: Any, schema: Mapping[str, Any], where: str = "spec") -> Iterator[str]:
    """What is wrong; a field that the schema does not know is, for an API server would drop it."""
    if not isinstance(value, TYPES[schema["type"]]):
        yield f"{where} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{where} is {value!r}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{where}.{key} is missing" for key in schema.get("required", ()) if key not in value)
        for key, item in value.items():
            if key in known:
                yield from problems(item, known[key], f"{where}.{key}")
            else:
                yield f"{where}.{key} is unknown"
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(item, schema["items"], f"{where}[{index}]")
