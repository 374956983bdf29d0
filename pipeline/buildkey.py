"""The build key: one hash of everything that can change what a build produces, and of nothing else.

The commit's id, its time, the environment's values, replicas and secrets' names are not inputs: two commits with the
same tree share one image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

VERSION = 1


def build_key(
    tree: str,
    *,
    dockerfile: str,
    target: str = "",
    arguments: Mapping[str, str] | None = None,
    bases: Mapping[str, str] | None = None,
    platforms: Sequence[str] = (),
    builder_class: str,
) -> str:
    """Hex SHA-256 of the inputs; ``tree`` is git's id of the service's path, ``bases`` maps references to digests."""
    inputs: dict[str, object] = {
        "version": VERSION,
        "tree": tree,
        "dockerfile": dockerfile,
        "target": target,
        "arguments": dict(arguments or {}),
        "bases": dict(bases or {}),
        "builder_class": builder_class,
    }
    if platforms:  # without the word the key of a build for the builder's own platform is what it has always been
        inputs["platforms"] = list(platforms)
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
