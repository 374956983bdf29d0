"""What of Enclii is in a cluster: installations by their marks, Secrets by their keys, never their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from console.installing import references
from console.installing.documents import Document
from console.installing.kubectl import Kubectl
from console.installing.rendering import MARK
from pipeline.errors import Refused

LABEL: Final = "enclii.dev/installation=enclii"
APPLYING: Final = "applying"
INSTALLED: Final = "installed"
_KEYS: Final = (
    "go-template={{range .items}}{{.metadata.name}}{{range $key, $value := .data}} {{$key}}{{end}}{{printf"
    ' "\\n"}}{{end}}'
)
"""Names and keys alone: a value must not get as far as this process."""


@dataclass(frozen=True)
class Installation:
    """One mark: where, what and how far; ``phase`` is empty when it was applied without us."""

    namespace: str
    version: str
    overlay: str
    instance: str
    phase: str
    objects: tuple[tuple[str, str, str], ...] = ()

    @property
    def told(self) -> str:
        half = ", half applied" if self.phase == APPLYING else ""
        return f"Enclii {self.version} in namespace {self.namespace} (overlay {self.overlay}{half})"


async def installations(kubectl: Kubectl) -> list[Installation]:
    """Every installation that the cluster knows of, by namespace."""
    found = await kubectl.get("configmaps", "--all-namespaces", "-l", LABEL)
    return sorted((_read(one) for one in found if one["metadata"]["name"] == MARK), key=lambda one: one.namespace)


def _read(mark: Mapping[str, Any]) -> Installation:
    told: Mapping[str, str] = mark.get("data") or {}
    rows = [line.split(" ") for line in told.get("objects", "").splitlines()]
    return Installation(
        namespace=mark["metadata"]["namespace"],
        version=told.get("version", ""),
        overlay=told.get("overlay", ""),
        instance=told.get("instance", ""),
        phase=told.get("phase", ""),
        objects=tuple((row[0], row[1].strip("-"), row[2]) for row in rows if len(row) == 3),
    )


async def absent(kubectl: Kubectl, found: Sequence[Document]) -> list[str]:
    """What the documents refer to and nobody has made yet, in words."""
    wanted = references.needed(found)
    there: dict[tuple[str, str, str], frozenset[str]] = {}
    for kind, namespace in sorted({(one.kind, one.namespace) for one in wanted}):
        there |= {(kind, namespace, name): keys for name, keys in await _keys(kubectl, kind, namespace)}
    return references.absent(wanted, there)


async def _keys(kubectl: Kubectl, kind: str, namespace: str) -> Iterable[tuple[str, frozenset[str]]]:
    text = await kubectl.call("get", kind, "-n", namespace, "-o", _KEYS)
    return [(row[0], frozenset(row[1:])) for row in map(str.split, text.splitlines()) if row]


async def refuse_second(kubectl: Kubectl, *, namespace: str, instance: str, beside: bool) -> Installation | None:
    """The installation in ``namespace`` already, if any. Raises Refused when the cluster has another."""
    found = await installations(kubectl)
    for one in found:
        if one.namespace == namespace:
            continue
        if one.instance == instance:
            raise Refused(
                f"{one.told} has the name {instance} already, so each would take the other's services for its own:"
                f" remove it, or say --set ENCLII_INSTANCE=NAME",
                reason="same_instance",
            )
        if not beside:
            raise Refused(
                f"{one.told} is in this cluster already: upgrade it with -n {one.namespace}, remove it, or --beside",
                reason="already_installed",
            )
    return next((one for one in found if one.namespace == namespace), None)
