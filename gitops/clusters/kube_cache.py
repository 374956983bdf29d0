"""One kind of object, listed once and watched from there on: what the cluster has, without asking again.

A watch that ends goes on behind the last version seen; a version that the server has forgotten means a new list. While
the server is away ``fresh`` is false, and nobody may call anything healthy.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from gitops.clusters.kube_api import Api
from gitops.clusters.kube_errors import Gone, refusal
from gitops.clusters.kube_objects import Object
from pipeline.errors import EncliiError, Unavailable

log = logging.getLogger(__name__)

PAGE = 1_000
WATCH_SECONDS = 300
QUIET_SECONDS = 100.0
"""A server sends a bookmark every minute; less is a connection that died unnoticed."""
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 5.0

T = TypeVar("T", bound=Object)
Key = tuple[str, str]


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _Version
    items: list[msgspec.Raw] | None = None


class _Change(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Cache(Generic[T]):
    """``changed`` is told the old and the new object; ``keep`` says which are worth keeping.

    ``labels`` are those by which Enclii knows the objects, besides their own.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        kind: type[T],
        changed: Callable[[T | None, T | None], None],
        *,
        selector: str = "",
        fields: str = "",
        metadata_only: bool = False,
        labels: Mapping[str, str] | None = None,
        quiet: float = QUIET_SECONDS,
        keep: Callable[[T], bool] = lambda _: True,
    ) -> None:
        self._api = api
        self._path = path
        self._kind = kind
        self._changed = changed
        self._keep = keep
        self._metadata_only = metadata_only
        self._labels = labels
        self._quiet = quiet
        self._query = {key: text for key, text in (("labelSelector", selector), ("fieldSelector", fields)) if text}
        self._objects: dict[Key, T] = {}
        self._version = ""
        self.fresh = False
        self.listed = asyncio.Event()
        self.problem: EncliiError | None = None
        self.turned: Callable[[], None] = lambda: None
        """Called when ``fresh`` changes."""

    def get(self, namespace: str, name: str) -> T | None:
        return self._objects.get((namespace, name))

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def put(self, item: T) -> None:
        """What an own write answered: known at once, not only when the watch says so."""
        known = self._objects.get(item.metadata.key)
        if known is None or _number(known) < _number(item):
            item.metadata.stripped()
            self._store(item)

    def clear(self) -> None:
        """Forget all objects; ``changed`` is told."""
        for key in list(self._objects):
            self._drop(key)

    async def run(self) -> None:
        """List and watch for ever."""
        wait = SHORTEST_WAIT
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                wait = SHORTEST_WAIT
            except Gone:
                self._version = ""
            except Exception as error:  # whatever it is: an ended watch must never pass for a quiet cluster
                self._is(False, _blind(error, self._path))
                self._version = ""  # what was missed is not worth guessing: only a new list is the truth
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
                wait = min(wait * 2, LONGEST_WAIT)

    async def _list(self) -> None:
        seen: set[Key] = set()
        query, version = {**self._query, "limit": str(PAGE)}, ""
        while True:
            data = await self._api.get(self._path, query, doing=f"list {self._path}", accept=self._accept("List"))
            page = _decoded(data, _Page)
            version = version or page.metadata.resource_version
            for raw in page.items or ():
                item = self._take(_decoded(bytes(raw), self._kind))
                seen.add(item.metadata.key)
            if not page.metadata.continue_:
                break
            query = {**query, "continue": page.metadata.continue_}
        for gone in self._objects.keys() - seen:
            self._drop(gone)
        self._version = version
        self._is(True, None)

    async def _watch(self) -> None:
        query = {
            **self._query,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        lines = self._api.lines(
            self._path, query, doing=f"watch {self._path}", quiet=self._quiet, accept=self._accept("")
        )
        try:
            async for line in lines:
                self._heard(_decoded(line, _Change))
                self._is(True, None)
        finally:
            await lines.aclose()

    def _accept(self, kind: str) -> str:
        return f"application/json;as=PartialObjectMetadata{kind};g=meta.k8s.io;v=v1" if self._metadata_only else ""

    def _heard(self, change: _Change) -> None:
        raw = bytes(change.object)
        if change.type == "ERROR":
            code = _decoded(raw, _Status).code
            raise refusal(code, raw, f"watch {self._path}")
        if change.type == "BOOKMARK":
            self._version = _decoded(raw, Object).metadata.resource_version
        else:
            item = _decoded(raw, self._kind)
            self._version = item.metadata.resource_version
            known = self._objects.get(item.metadata.key)
            if known is not None and _number(known) > _number(item):
                return  # an own write answered with something newer
            if change.type == "DELETED":
                self._drop(item.metadata.key)
            else:
                self._take(item)

    def _take(self, item: T) -> T:
        item.metadata.stripped()
        known = self._objects.get(item.metadata.key)
        if known is None or known.metadata.resource_version != item.metadata.resource_version:
            self._store(item)
        return item

    def _store(self, item: T) -> None:
        if not self._keep(item):
            self._drop(item.metadata.key)
            return
        if self._labels:
            item.metadata.labels = {**item.metadata.labels, **self._labels}
        old = self._objects.get(item.metadata.key)
        self._objects[item.metadata.key] = item
        self._changed(old, item)

    def _drop(self, key: Key) -> None:
        old = self._objects.pop(key, None)
        if old is not None:
            self._changed(old, None)

    def _is(self, fresh: bool, problem: EncliiError | None) -> None:
        turned = fresh != self.fresh
        if turned and problem is not None:
            log.warning("%s", problem)
        self.fresh, self.problem = fresh, problem
        if fresh:
            self.listed.set()
        if turned:
            self.turned()


def _blind(error: Exception, path: str) -> Unavailable:
    """Whatever ended a watch, all that it says is that nothing can be said: a missing right is no release's fault."""
    if isinstance(error, Unavailable):
        return error
    if not isinstance(error, EncliiError):
        log.error("watching %s failed", path, exc_info=error)
    why = error.message if isinstance(error, EncliiError) else f"{path}: {type(error).__name__}"
    return Unavailable(f"the cluster cannot be watched: {why}", reason="cluster_unreadable", delay=10.0)


class _Status(msgspec.Struct):
    code: int = 500


D = TypeVar("D")


def _decoded(data: bytes, kind: type[D]) -> D:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise Unavailable(
            f"the cluster gave an unreadable answer: {error}", reason="cluster_unreadable", delay=2.0
        ) from error


def _number(item: Object) -> int:
    text = item.metadata.resource_version
    return int(text) if text.isdecimal() else 0
