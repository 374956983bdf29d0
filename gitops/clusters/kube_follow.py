"""A Deployment that somebody else renders, watched by its own name and selector as if it carried a service's labels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gitops.clusters.kube_api import Api
from gitops.clusters.kube_cache import Cache
from gitops.clusters.kube_kinds import KNOWN
from gitops.clusters.kube_objects import Deployment, Pod, ReplicaSet, Shape
from pipeline.errors import EncliiError, Unavailable

LIST_LIMIT = 30.0
Changed = Callable[[Any, Any], None]
_SIGNS = {"In": "in", "NotIn": "notin", "Exists": "", "DoesNotExist": "!"}


@dataclass(frozen=True, order=True)
class Name:
    """Where one Deployment is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Found:
    """One Deployment as it was read: the object, and how its pods are selected."""

    name: Name
    deployment: Deployment
    selector: str


class _Requirement(Shape):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class _Selector(Shape):
    match_labels: dict[str, str] | None = None
    match_expressions: list[_Requirement] | None = None


class _Spec(Shape):
    selector: _Selector = msgspec.field(default_factory=_Selector)


class _Selecting(Shape):
    spec: _Spec = msgspec.field(default_factory=_Spec)


def found(name: Name, data: bytes) -> Found:
    """A Deployment as the API server answered it."""
    selector = msgspec.json.decode(data, type=_Selecting).spec.selector
    return Found(name, msgspec.json.decode(data, type=Deployment), selector_text(selector))


def selector_text(selector: _Selector) -> str:
    """A selector as a query's ``labelSelector``."""
    parts = [f"{key}={text}" for key, text in sorted((selector.match_labels or {}).items())]
    for one in selector.match_expressions or ():
        sign = _SIGNS.get(one.operator, "")
        if one.values:
            parts.append(f"{one.key} {sign} ({','.join(one.values)})")
        else:
            parts.append(f"{sign}{one.key}")
    return ",".join(parts)


class Followed:
    """Three watches: the Deployment, its ReplicaSets, its pods. ``changed`` is told in this order of kinds."""

    def __init__(
        self, api: Api, there: Found, labels: Mapping[str, str], changed: Sequence[Changed], turned: Callable[[], None]
    ) -> None:
        self.there = there
        space, name = there.name.namespace, there.name.name
        deployment, sets, pods = changed

        def cache(group: str, kind: str, shape: Any, told: Changed, **more: Any) -> Any:
            made: Any = Cache(api, KNOWN[group, kind].collection(space), shape, told, labels=labels, **more)
            made.turned = turned
            return made

        self.deployments: Cache[Deployment] = cache(
            "apps/v1", "Deployment", Deployment, deployment, fields=f"metadata.name={name}"
        )
        self.pods: Cache[Pod] = cache("v1", "Pod", Pod, pods, selector=there.selector)
        self._caches = (
            self.deployments, cache("apps/v1", "ReplicaSet", ReplicaSet, sets, selector=there.selector), self.pods,
        )  # fmt: skip
        self._tasks = [asyncio.create_task(one.run()) for one in self._caches]

    def same(self, there: Found) -> bool:
        """Whether these watches are of that very Deployment."""
        mine = self.there
        uid = mine.deployment.metadata.uid == there.deployment.metadata.uid
        return uid and (mine.name, mine.selector) == (there.name, there.selector)

    async def ready(self) -> None:
        """Return once all was listed and is fresh. Raises Unavailable."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIST_LIMIT):
                for one in self._caches:
                    await one.listed.wait()
        if problem := self.problem():
            raise problem

    def problem(self) -> EncliiError | None:
        """Why what is known may be old."""
        for one in self._caches:
            if not one.fresh:
                return one.problem or Unavailable("the cluster does not answer", reason="cluster_away", delay=2.0)
        return None

    async def end(self) -> None:
        """Stop watching, and forget what was seen."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._caches:
            one.clear()
