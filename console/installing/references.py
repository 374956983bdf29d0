"""What manifests refer to and do not bring: the Secrets and ConfigMaps that somebody has to make before; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from console.installing.documents import Document, identity, pod_of

REGISTRY: Final = "enclii-registry"
"""Holds a password that is not ours to make."""


@dataclass(frozen=True, order=True)
class Reference:
    """One object by name, with the keys of it that are asked for."""

    kind: str
    namespace: str
    name: str
    keys: tuple[str, ...] = ()


def needed(documents: Sequence[Document]) -> list[Reference]:
    """What has to be there before, each object once with all keys that anybody asks for, in order."""
    brought = {identity(one) for one in documents}
    found: dict[tuple[str, str, str], set[str]] = {}
    for document in documents:
        for one in _asked_by(document):
            found.setdefault((one.kind, one.namespace, one.name), set()).update(one.keys)
    return [Reference(*named, tuple(sorted(keys))) for named, keys in sorted(found.items()) if named not in brought]


def absent(wanted: Iterable[Reference], there: Mapping[tuple[str, str, str], frozenset[str]]) -> list[str]:
    """What of ``wanted`` is not ``there``, in words; ``there`` has the keys of each object."""
    told = []
    for one in wanted:
        keys = there.get((one.kind, one.namespace, one.name))
        if keys is None:
            told.append(f"{one.kind} {one.namespace}/{one.name}")
        elif lacking := [key for key in one.keys if key not in keys]:
            told.append(f"{one.kind} {one.namespace}/{one.name} has no key {', '.join(lacking)}")
    return told


def remedy(lacking: str, namespace: str) -> str:
    """What makes one of ``absent``: the script makes what can be made from nothing, and changes nothing there is."""
    name = lacking.partition("/")[2].partition(" ")[0]
    if " has no key " in lacking:
        return "add the key: make-secrets leaves what is there; delete the whole only where its values are nobody's yet"
    if name == REGISTRY:
        return (
            f"kubectl -n {namespace} create secret generic {REGISTRY} --type kubernetes.io/dockerconfigjson"
            " --from-file=.dockerconfigjson=config.json"
        )
    return f"manifests/platform/make-secrets {namespace}" if name.startswith("enclii-") else "yours to make"


def _asked_by(document: Document) -> Iterator[Reference]:
    pod, namespace = pod_of(document), document["metadata"].get("namespace", "")
    for source in _sources(pod):
        for kind, key in (("Secret", "secret"), ("ConfigMap", "configMap")):
            told = source.get(key)
            if told and not told.get("optional"):
                keys = tuple(item["key"] for item in told.get("items", ()))
                yield Reference(kind, namespace, told.get("secretName") or told["name"], keys)
    for container in [*pod.get("containers", ()), *pod.get("initContainers", ())]:
        yield from _in_environment(container, namespace)


def _sources(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for volume in pod.get("volumes", ()):
        yield volume
        yield from volume.get("projected", {}).get("sources", ())


def _in_environment(container: Mapping[str, Any], namespace: str) -> Iterator[Reference]:
    named = [one.get("valueFrom", {}) for one in container.get("env", ())]
    for kind, key in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
        for one in (value[key] for value in named if key in value):
            if not one.get("optional"):
                yield Reference(kind, namespace, one["name"], (one["key"],))
    for kind, key in (("Secret", "secretRef"), ("ConfigMap", "configMapRef")):
        for one in (source[key] for source in container.get("envFrom", ()) if key in source):
            if not one.get("optional"):
                yield Reference(kind, namespace, one["name"])
