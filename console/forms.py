"""An answer of the API in the form that ``-o`` asks for; pure but for the late import of what writes YAML.

``rows`` names the list in the answer that is listed line by line (``jsonl``) or name by name (``name``); an answer
without one is one row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from console.texts import printable

FORMS: Final = ("table", "wide", "json", "jsonl", "yaml", "name")
MACHINES: Final = frozenset({"json", "jsonl", "yaml"})
_NAMES: Final = ("id", "process", "name", "field", "command", "deployment_id", "run", "subject", "digest")


def rendered(answer: Any, form: str, text: Callable[[Any], str], rows: str = "") -> str:
    """The answer as text without the last line's end; ``text`` makes the forms for people."""
    if form == "json":
        return json.dumps(answer, ensure_ascii=False, indent=2)
    if form == "yaml":
        return _yaml(answer)
    if form == "jsonl":
        return "\n".join(json.dumps(one, ensure_ascii=False) for one in _rows(answer, rows))
    if form == "name":
        return "\n".join(dict.fromkeys(printable(name_of(one)) for one in _rows(answer, rows)))
    return text(answer)


def name_of(one: Any) -> str:
    """What other commands know a row by: its id, else its name, else where it is."""
    if not isinstance(one, Mapping):
        return str(one)
    found = next((str(one[key]) for key in _NAMES if one.get(key)), "")
    return found or "/".join(str(one[key]) for key in ("project", "environment", "service") if one.get(key))


def _rows(answer: Any, rows: str) -> Iterator[Any]:
    if not rows:
        yield answer
        return
    for key in rows.split(","):
        yield from answer[key]


def _yaml(answer: Any) -> str:
    from gitops import emit

    return emit.document(_flat(answer)).decode().removesuffix("\n")


def _flat(value: Any) -> Any:
    """Without lists directly inside lists, which the one YAML form here does not have."""
    if isinstance(value, Mapping):
        return {key: _flat(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [{"items": _flat(item)} if isinstance(item, list) else _flat(item) for item in value]
    return value
