"""An inventory that somebody deleted, found again by the labels that everything of a service carries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from gitops.clusters import ServiceRef
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_kinds import KNOWN, Kind
from gitops.clusters.kube_objects import PREFIX, Object
from gitops.clusters.kube_plan import Entry, Inventory, labels
from pipeline.errors import NotFound, Refused

MADE_BY_OTHERS = frozenset({"Pod", "ReplicaSet", "PersistentVolumeClaim"})
KINDS = (
    *(kind for kind in KNOWN.values() if kind.kind not in MADE_BY_OTHERS),
    Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
    Kind("external-secrets.io/v1", "ExternalSecret", "externalsecrets"),
)
"""What Enclii writes for a service; other kinds of a person's own are left alone until git names them again."""


class _List(msgspec.Struct):
    items: list[Object] | None = None


async def found_again(api: Api, ref: ServiceRef, namespace: str, *, instance: str) -> Inventory:
    """What there is of the service, without any hash: nothing is known of how it was applied."""
    entries = [entry async for entry in _entries(api, ref, namespace, instance)]
    return Inventory(ref, namespace, "", tuple(entries))


async def _entries(api: Api, ref: ServiceRef, namespace: str, instance: str) -> AsyncIterator[Entry]:
    chosen = ",".join(f"{key}={text}" for key, text in labels(instance, ref).items())
    for kind in KINDS:
        query = {"labelSelector": chosen}
        try:
            data = await api.call("GET", kind.collection(namespace), query, doing=f"look for {kind.plural} of {ref}")
        except NotFound:
            continue  # the cluster does not have that kind
        except Refused as error:
            if error.reason != "not_allowed":
                raise
            continue  # what we may not list we have not made
        for one in msgspec.json.decode(data, type=_List).items or ():
            mine = not one.metadata.owner_references and PREFIX + "inventory" not in one.metadata.labels
            if mine:
                yield Entry(kind.api, kind.kind, one.metadata.name)
