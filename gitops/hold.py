"""``hold.yaml``: who holds a service, since when, why, and which release was live when the hold began.

The file's presence is the hold: one that a person wrote without any of these fields, or that does not parse, holds too.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gitops import emit

HEADER = "While this file is here, no release is deployed. `enclii resume`, or deleting it, takes the hold away."


@dataclass(frozen=True)
class Hold:
    """One hold; ``release`` is the id of the release that was live when it began, "" when that is unknown."""

    by: str = ""
    at: str = ""
    why: str = ""
    release: str = ""


def render(hold: Hold, *, header: str = HEADER) -> bytes:
    """The file."""
    fields = {"by": hold.by, "at": hold.at, "why": hold.why, "release": hold.release}
    return emit.document({key: value for key, value in fields.items() if value}, header=header)


def parse(data: bytes) -> Hold:
    """What the file says; whatever cannot be read is left empty."""
    try:
        found: Any = YAML(typ="safe", pure=True).load(io.BytesIO(data[:65_536]))
    except (YAMLError, ValueError):
        return Hold()
    if not isinstance(found, dict):
        return Hold()
    return Hold(**{key: str(found.get(key) or "")[:1_000] for key in ("by", "at", "why", "release")})
