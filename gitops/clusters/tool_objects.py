"""The few objects that Enclii makes for another tool: the namespace of an environment, and the tool's own unit."""

from __future__ import annotations

import contextlib
from typing import Any

from gitops import wiring
from gitops.clusters import kube_namespaces
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_kinds import NAMESPACE, Kind
from gitops.clusters.kube_objects import MANAGER
from pipeline.errors import Conflict, NotFound


async def ensure_namespace(api: Api, name: str, environment: str, *, pod_security: str, instance: str) -> None:
    """Make the namespace unless it is there: what people say of theirs stays."""
    path = NAMESPACE.object("", name)
    try:
        await api.get(path, doing=f"look at the namespace {name}")
    except NotFound:
        await kube_namespaces.make(api, name, environment, pod_security=pod_security, instance=instance)


async def create(api: Api, kind: Kind, document: wiring.Document) -> None:
    """Make an object; somebody who was faster has made the same."""
    metadata: Any = document["metadata"]
    path, query = kind.collection(metadata["namespace"]), {"fieldManager": MANAGER}
    with contextlib.suppress(Conflict):
        await api.call("POST", path, query, document, doing=f"make the {kind.kind} {metadata['name']}")


async def delete(api: Api, kind: Kind, namespace: str, name: str) -> None:
    """Delete an object, if it is there."""
    with contextlib.suppress(NotFound):
        await api.call("DELETE", kind.object(namespace, name), doing=f"delete the {kind.kind} {name}")
