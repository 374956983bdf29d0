"""What Argo CD and Flux have in common: one unit for each service, made when missing, and a hint for each commit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gitops.clusters import Wanted, kube_plan, tool_objects
from gitops.clusters.hints import Hints
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_kinds import Kind
from gitops.clusters.kube_objects import Object
from gitops.clusters.tools import Includes, Wake
from gitops.layout import DEPLOYMENT_FILE
from gitops.wiring import Document, Source, Unit
from pipeline.errors import Refused

A = TypeVar("A")
S = TypeVar("S")


class Units(ABC, Generic[A, S]):
    """How a tool is reached (``access``), its place in the cluster (``site``), and what it reads (``source``)."""

    _api: Api

    def __init__(
        self, access: A, site: S, source: Source, *, includes: Includes, instance: str, pod_security: str = "restricted"
    ) -> None:
        self._access, self._site, self._source = access, site, source
        self._includes, self._instance, self._pod_security = includes, instance, pod_security
        self._hints = Hints(self._send)

    @abstractmethod
    async def _send(self, revision: str, paths: Sequence[str]) -> None:
        """Tell the tool. Raises EncliiError when it does not listen."""

    async def _make(self, unit: Unit, kind: Kind, document: Document) -> None:
        """The tool's unit, and the namespace that it syncs to."""
        await tool_objects.ensure_namespace(
            self._api,
            unit.namespace,
            unit.place.environment,
            pod_security=self._pod_security,
            instance=self._instance,
        )
        await tool_objects.create(self._api, kind, document)

    def _hint(self, wanted: Wanted, unit: Unit) -> None:
        self._hints.tell(wanted.revision, [f"{unit.place.path}/{DEPLOYMENT_FILE}"])


def waking(wake: Wake) -> Callable[[Object | None, Object | None], None]:
    """Wake the service that a changed unit belongs to."""

    def changed(old: Object | None, new: Object | None) -> None:
        for one in (old, new):
            if one is not None and (ref := kube_plan.ref_of(one.metadata.labels)) is not None:
                wake(ref)

    return changed


def check_path(kind: str, found: Object, path: str, unit: Unit) -> None:
    """Return if the unit of that name is of this service's directory. Raises Refused."""
    if path.removeprefix("./").rstrip("/") != unit.place.path:
        raise Refused(
            f"the {kind} {found.metadata.name} is of another directory than {unit.place.path}: rename or delete it",
            reason="not_ours",
        )
