"""Namespaces that Enclii makes: one for each environment, which stays, and one for each preview, which ends with it.

A preview's namespace is known by a label that only its maker writes. One that was there before has none and stays,
whatever it is called, because what lies in it may be somebody's.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from gitops import wiring
from gitops.binding import namespace_of
from gitops.clusters import ServiceRef
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_kinds import KNOWN, NAMESPACE
from gitops.clusters.kube_objects import MANAGER, PREFIX
from pipeline.errors import Conflict, NotFound, Refused, Unavailable
from pipeline.previews import is_preview

PREVIEW = f"{PREFIX}preview"
LOOK_EVERY = 0.25
END_LIMIT = 60.0


class _Metadata(msgspec.Struct):
    uid: str = ""
    labels: dict[str, str] = {}
    deletionTimestamp: str = ""  # noqa: N815 - as the API has it


class _Namespace(msgspec.Struct):
    metadata: _Metadata


class _List(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


async def make(api: Api, name: str, environment: str, *, pod_security: str, instance: str) -> None:
    """Make the namespace; somebody who was faster has made it, and what people say of theirs stays."""
    made = wiring.namespace(name, pod_security=pod_security, instance=instance)
    if is_preview(environment):
        made["metadata"]["labels"][PREVIEW] = environment
    with contextlib.suppress(Conflict):
        query = {"fieldManager": MANAGER}
        await api.call("POST", NAMESPACE.collection(), query, made, doing=f"make the namespace {name}")


class Previews:
    """The namespaces of one installation's previews on one cluster."""

    def __init__(self, api: Api, instance: str) -> None:
        self._api, self._instance = api, instance
        self._gone: set[ServiceRef] = set()
        """What was removed long ago is looked at again and again: it is asked for once."""

    def begun(self, ref: ServiceRef) -> None:
        """Something of the service is wanted."""
        self._gone.discard(ref)

    async def end(self, ref: ServiceRef) -> None:
        """Nothing of the service is left: so end its namespace, when it is a preview's. Raises as ``end`` does."""
        if is_preview(ref.environment) and ref not in self._gone:
            await end(self._api, ref, instance=self._instance)
            self._gone.add(ref)


async def end(api: Api, ref: ServiceRef, *, instance: str) -> None:
    """Delete the namespace of a preview, once no service of it is left there, and return when it is gone.

    Raises Unavailable while something in it holds it back, and when the cluster does not let us.
    """
    name = namespace_of(ref.project, ref.environment)
    path = NAMESPACE.object("", name)
    if await _has_services(api, name, instance):
        return
    try:
        async with asyncio.timeout(END_LIMIT):
            while (found := await _made_for(api, path, ref, instance)) is not None:
                if not found.deletionTimestamp:
                    await _delete(api, path, found.uid)
                await asyncio.sleep(LOOK_EVERY)
    except TimeoutError as error:
        what = f"the namespace of {ref.environment} is still ending: see its conditions"
        raise Unavailable(what, reason="still_ending", delay=10.0) from error


async def _has_services(api: Api, namespace: str, instance: str) -> bool:
    """Asked of the server: of two services that end at once, the second has to see that the first is gone."""
    query = {"labelSelector": f"{PREFIX}instance={instance},{PREFIX}service", "limit": "1"}
    for kind in (KNOWN["v1", "ConfigMap"], KNOWN["apps/v1", "Deployment"]):
        data = await api.get(kind.collection(namespace), query, doing="look what is left of a preview")
        if msgspec.json.decode(data, type=_List).items:
            return True
    return False


async def _made_for(api: Api, path: str, ref: ServiceRef, instance: str) -> _Metadata | None:
    try:
        data = await api.get(path, doing="look at a preview's namespace")
    except NotFound:
        return None
    found = msgspec.json.decode(data, type=_Namespace).metadata
    ours = (found.labels.get(f"{PREFIX}instance"), found.labels.get(PREVIEW)) == (instance, ref.environment)
    return found if ours else None


async def _delete(api: Api, path: str, uid: str) -> None:
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
    try:
        await api.call("DELETE", path, None, body, doing="delete a preview's namespace")
    except (NotFound, Conflict):
        return
    except Refused as error:
        raise Unavailable(
            f"{error.message}: grant what manifests/rbac/previews.yaml says", reason=error.reason, delay=60.0
        ) from error
