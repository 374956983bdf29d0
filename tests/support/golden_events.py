"""Events as a release wrote them: ``tests/data/events/TYPE.vN.txt``, per line the subject, a space and the body.

The first line has every field, the second those alone that were required, each further one another value of a field
that has only some. What was recorded stays as it is: it may lie in somebody's event store. A field that is added goes
into the first line; a version that begins gets a file of its own beside the old one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "data" / "events"


@dataclass(frozen=True)
class Written:
    """One event as it lies in the event store."""

    name: str  # "hold.requested.v1"
    subject: str
    body: bytes

    @property
    def type(self) -> str:
        return self.name.rpartition(".v")[0]

    @property
    def version(self) -> int:
        return int(self.name.rpartition(".v")[2])

    @property
    def headers(self) -> dict[str, str]:
        return {"ce-type": f"dev.enclii.{self.name}"}


def written(name: str = "*") -> list[Written]:
    """Everything that was recorded, or what was of one type and version."""
    found = []
    for file in sorted(RECORDED.glob(f"{name}.txt")):
        for line in file.read_bytes().splitlines():
            subject, _, body = line.partition(b" ")
            found.append(Written(file.stem, subject.decode(), body))
    return found


def added(body: bytes) -> bytes:
    """The event as a later release may write it: each object in it has fields that nobody knows yet."""
    return json.dumps(_added(json.loads(body))).encode()


def _added(value: Any) -> Any:
    if isinstance(value, dict) and "id" not in value and all(isinstance(one, str) for one in value.values()):
        return value  # a map from names to texts, whose keys are no fields
    if isinstance(value, dict):
        return {key: _added(one) for key, one in value.items()} | {"invented": {"later": [1, None, "x"]}}
    return value
