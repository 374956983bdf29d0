"""Which address each kind of object has, and when it is applied: configuration first, then jobs, then what runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from gitops.clusters.kube_api import Api, path_of
from pipeline.errors import Invalid, NotFound


@dataclass(frozen=True)
class Kind:
    """One kind as the API server serves it."""

    api: str
    """``v1`` or ``group/version``."""
    kind: str
    plural: str
    namespaced: bool = True

    def collection(self, namespace: str = "") -> str:
        """The address of all objects, or of all in a namespace."""
        root = ("api", self.api) if "/" not in self.api else ("apis", *self.api.split("/"))
        return path_of(*root, *(("namespaces", namespace) if namespace and self.namespaced else ()), self.plural)

    def object(self, namespace: str, name: str) -> str:
        """The address of one object."""
        return self.collection(namespace) + path_of(name)


_KNOWN = (
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("v1", "Pod", "pods"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("v1", "LimitRange", "limitranges"),
    ("v1", "ResourceQuota", "resourcequotas"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("batch/v1", "Job", "jobs"),
    ("batch/v1", "CronJob", "cronjobs"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
)
KNOWN = {(api, kind): Kind(api, kind, plural) for api, kind, plural in _KNOWN}
BY_KIND = {kind.kind: kind for kind in KNOWN.values()}
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
CONFIGURATION = frozenset(
    {"ServiceAccount", "ConfigMap", "NetworkPolicy", "Service", "PodDisruptionBudget", "LimitRange", "ResourceQuota"}
)
EXTERNAL = frozenset({"ExternalSecret", "SealedSecret", "SopsSecret", "Certificate"})
JOBS = frozenset({"Job"})
WAVES = 3


def wave(kind: str) -> int:
    """0: configuration, 1: release jobs, 2: what runs and what leads to it."""
    if kind in CONFIGURATION or kind in EXTERNAL:
        return 0
    return 1 if kind in JOBS else 2


class _Resource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool = True


class _Resources(msgspec.Struct):
    resources: list[_Resource]


class Kinds:
    """The kinds of one cluster; what is not built in is asked for once."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._found = dict(KNOWN)
        self._lock = asyncio.Lock()

    async def of(self, api: str, kind: str) -> Kind:
        """The kind. Raises Invalid for one that the cluster does not have, such as a CRD that is not installed."""
        if not api and kind in BY_KIND:
            return BY_KIND[kind]
        if (api, kind) not in self._found:
            async with self._lock:
                await self._ask(api)
        found = self._found.get((api, kind))
        if found is None:
            raise _missing(api, kind)
        return found

    async def _ask(self, api: str) -> None:
        root = ("api", api) if "/" not in api else ("apis", *api.split("/"))
        try:
            data = await self._api.get(path_of(*root), doing=f"look for {api}")
        except NotFound:
            return
        for one in msgspec.json.decode(data, type=_Resources).resources:
            if "/" not in one.name:
                self._found[api, one.kind] = Kind(api, one.kind, one.name, one.namespaced)


def _missing(api: str, kind: str) -> Invalid:
    return Invalid(
        f"the cluster has no kind {kind} in {api or 'v1'}: install its CRD, or remove the document",
        reason="crd_missing",
    )
