"""Manifests as data: read from YAML, put into the namespaces of one installation, written in one fixed form."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gitops import emit
from pipeline.errors import Invalid

NAMESPACE: Final = "enclii"
BUILDS: Final = "enclii-builds"
Document = dict[str, Any]

_CLUSTER_WIDE: Final = frozenset({"ClusterRole", "ClusterRoleBinding"})
_SERVICE_NAME: Final = re.compile(r"\.enclii(-builds)?\.svc\b")
_ORDER: Final = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap")


def read(text: str) -> list[Document]:
    """The documents of a YAML stream, what others need first. Raises Invalid."""
    try:
        found = [one for one in YAML(typ="safe", pure=True).load_all(io.StringIO(text)) if one is not None]
    except (YAMLError, ValueError, RecursionError) as error:
        raise Invalid("the rendered manifests are not valid YAML", reason="bad_manifests") from error
    if not all(isinstance(one, dict) and one.get("kind") for one in found):
        raise Invalid("a rendered manifest has no kind", reason="bad_manifests")
    return sorted(found, key=lambda one: _ORDER.index(one["kind"]) if one["kind"] in _ORDER else len(_ORDER))


def write(documents: Iterable[Mapping[str, Any]]) -> str:
    """All of them as one stream, the same bytes for the same input."""
    return b"---\n".join(emit.document(one) for one in documents).decode()


def identity(document: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, namespace and name: what no two documents share."""
    about = document["metadata"]
    return document["kind"], about.get("namespace", ""), about["name"]


def pod_of(document: Document) -> dict[str, Any]:
    """What a workload's pods are made of; nothing for another kind."""
    pod: dict[str, Any] = document.get("spec", {}).get("template", {}).get("spec", {}) if is_workload(document) else {}
    return pod


def is_workload(document: Document) -> bool:
    """Whether pods are made of it that stay."""
    return document["kind"] in ("Deployment", "StatefulSet")


def placed(document: Document, namespace: str) -> Document:
    """The document for an installation in ``namespace``, whose builds run in ``<namespace>-builds``."""
    if namespace == NAMESPACE:
        return document
    there = {NAMESPACE: namespace, BUILDS: f"{namespace}-builds"}
    moved: Document = _moved(document, there)
    about, kind = moved["metadata"], moved["kind"]
    if kind == "Namespace":
        about["name"] = there.get(about["name"], about["name"])
    if kind in _CLUSTER_WIDE:
        about["name"] = _own(about["name"], namespace)
    if moved.get("roleRef", {}).get("kind") == "ClusterRole":
        moved["roleRef"]["name"] = _own(moved["roleRef"]["name"], namespace)
    return moved


def _own(name: str, namespace: str) -> str:
    """A cluster-wide name that another installation does not have."""
    return f"{namespace}{name.removeprefix(NAMESPACE)}" if name.startswith(f"{NAMESPACE}-") else name


def _moved(value: Any, there: Mapping[str, str], key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _moved(item, there, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, there) for item in value]
    if not isinstance(value, str):
        return value
    if key in ("namespace", "kubernetes.io/metadata.name"):
        return there.get(value, value)
    return _SERVICE_NAME.sub(lambda found: f".{there[NAMESPACE]}{found[1] or ''}.svc", value)
