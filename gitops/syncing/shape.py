"""Whether a document has the shape that its kind has everywhere, as far as anything here reads it; pure.

What a cluster refuses beyond that, it says itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import Invalid

Rules = tuple[tuple[str, type[Any]], ...]
_META: Rules = (("metadata", dict), ("metadata.labels", dict), ("metadata.annotations", dict))
_POD: Rules = (
    ("spec", dict),
    ("spec.template", dict),
    *((f"spec.template.{path}", kind) for path, kind in _META),
    ("spec.template.spec", dict),
    ("spec.template.spec.containers", list),
    ("spec.template.spec.containers.*", dict),
    ("spec.template.spec.containers.*.ports", list),
    ("spec.template.spec.containers.*.ports.*", dict),
)
_OF: Mapping[str, Rules] = {
    "Deployment": (*_POD, ("spec.replicas", int)),
    "Job": _POD,
    "Ingress": (("spec", dict), ("spec.rules", list), ("spec.rules.*", dict)),
    "HTTPRoute": (("spec", dict), ("spec.hostnames", list)),
    "Service": (("spec", dict), ("spec.ports", list), ("spec.ports.*", dict)),
}
_NAMES = {dict: "a mapping", list: "a list", int: "a number"}


def check(document: Mapping[str, Any]) -> None:
    """Raises Invalid that names the first field that is something else. What is no object of any kind passes."""
    kind = document.get("kind")
    if not isinstance(kind, str):
        return
    for path, wanted in (*_META, *_OF.get(kind, ())):
        for value in _at(document, path.split(".")):
            if value is not None and not isinstance(value, wanted):
                name = (document.get("metadata") or {}).get("name") if path != "metadata" else ""
                raise Invalid(f"{kind} {name}: {path} must be {_NAMES[wanted]}", reason="unsupported_manifest")


def _at(value: Any, steps: list[str]) -> Iterator[Any]:
    """What is there; parents are checked before their children, and one that is empty has none."""
    if not steps:
        yield value
    elif steps[0] == "*":
        for one in value or ():
            yield from _at(one, steps[1:])
    elif value:
        yield from _at(value.get(steps[0]), steps[1:])
