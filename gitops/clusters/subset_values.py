"""Where a container's variables and files come from on podman: plain values, ConfigMaps, and the secret store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops.clusters import Document
from gitops.clusters.subset_spot import Spot

Configs = Mapping[str, Mapping[str, str]]
MOUNT = frozenset({"name", "mountPath", "readOnly"})
_KEY = frozenset({"name", "key", "optional"})


@dataclass(frozen=True)
class SecretUse:
    """One variable from podman's secret store; the value is never read here."""

    variable: str
    secret: str
    key: str


@dataclass(frozen=True)
class Variables:
    """A container's environment: values, references to the pod's own fields, references to secrets."""

    env: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, str], ...]
    secrets: tuple[SecretUse, ...]


def variables(where: Spot, container: Document, configs: Configs) -> Variables:
    """The environment, resolved as far as that needs no secret. Raises Invalid."""
    values: dict[str, str] = {}
    fields: dict[str, str] = {}
    secrets: dict[str, SecretUse] = {}
    for spot, item in (where / "envFrom").items(container.get("envFrom")):
        spot.only(item, frozenset({"prefix", "configMapRef"}))
        found = _lookup(spot / "configMapRef", configs, item.get("configMapRef") or {})
        values |= {f"{item.get('prefix', '')}{name}": value for name, value in found.items()}
    for spot, item in (where / "env").items(container.get("env")):
        spot.only(item, frozenset({"name", "value", "valueFrom"}))
        name, at = str(item.get("name")), spot / "valueFrom"
        source = at.only(item.get("valueFrom"), frozenset({"configMapKeyRef", "secretKeyRef", "fieldRef"}))
        for known in (values, fields, secrets):
            known.pop(name, None)
        if "secretKeyRef" in source:
            secrets[name] = _secret(at / "secretKeyRef", name, source["secretKeyRef"])
        elif "fieldRef" in source:
            fields[name] = _field(at / "fieldRef", source["fieldRef"])
        elif (value := _value(at, item, source, configs)) is not None:
            values[name] = value
    return Variables(tuple(values.items()), tuple(fields.items()), tuple(secrets.values()))


def volumes(at: Spot, pod: Document, configs: Configs) -> Iterator[tuple[str, Mapping[str, str] | None]]:
    """Volume name → the files of a ConfigMap, or None for an empty directory."""
    for spot, item in (at / "volumes").items(pod.get("volumes")):
        spot.only(item, frozenset({"name", "emptyDir", "configMap"}))
        if "configMap" not in item:
            (spot / "emptyDir").only(item.get("emptyDir"), frozenset())
            yield str(item.get("name")), None
            continue
        source = (spot / "configMap").only(item["configMap"], frozenset({"name", "items", "optional"}))
        files = _lookup(spot / "configMap", configs, source)
        yield str(item.get("name")), _chosen(spot / "configMap", source, files)


def mounts(where: Spot, container: Document, volumes: Mapping[str, Any]) -> Iterator[Document]:
    """The container's mounts. Raises Invalid for a volume that the pod does not have."""
    for spot, item in (where / "volumeMounts").items(container.get("volumeMounts")):
        spot.only(item, MOUNT)
        if item.get("name") not in volumes:
            raise (spot / "name").refuse("names no volume of the pod")
        yield dict(item)


def _secret(spot: Spot, variable: str, asked: Any) -> SecretUse:
    asked = spot.only(asked, _KEY)
    if asked.get("optional"):
        raise (spot / "optional").refuse()
    return SecretUse(variable, str(asked.get("name")), str(asked.get("key")))


def _field(spot: Spot, asked: Any) -> str:
    path = str((asked or {}).get("fieldPath"))
    if path != "metadata.name":
        raise (spot / "fieldPath").refuse()
    return path


def _value(at: Spot, item: Document, source: Document, configs: Configs) -> str | None:
    if not source:
        return str(item.get("value") or "")
    spot = at / "configMapKeyRef"
    asked = spot.only(source["configMapKeyRef"], _KEY)
    found = _lookup(spot, configs, asked)
    if asked.get("key") in found:
        return found[asked["key"]]
    if asked.get("optional"):
        return None
    why = f"refers to {asked.get('key')} of ConfigMap {asked.get('name')}, which has no such key"
    raise spot.refuse(why, reason="configmap_missing")


def _lookup(spot: Spot, known: Configs, source: Document) -> Mapping[str, str]:
    name = str(source.get("name"))
    if name in known:
        return known[name]
    if source.get("optional"):
        return {}
    raise spot.refuse(f"refers to ConfigMap {name}, which does not exist", reason="configmap_missing")


def _chosen(spot: Spot, source: Document, files: Mapping[str, str]) -> Mapping[str, str]:
    if "items" not in source:
        return files
    chosen = {}
    for at, item in (spot / "items").items(source["items"]):
        at.only(item, frozenset({"key", "path"}))
        if "/" in str(item.get("path")):
            raise (at / "path").refuse("must be a plain file name on podman")
        if item.get("key") not in files:
            raise (at / "key").refuse("is not a key of the ConfigMap", reason="configmap_missing")
        chosen[str(item.get("path"))] = files[item["key"]]
    return chosen
