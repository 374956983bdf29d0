"""The units of a sync tool that people made: which of them renders an adopted service's files.

They are watched only once an adopted service asks for one: most installations have none.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from gitops.clusters import ServiceRef, Wanted
from gitops.clusters.kube_api import Api
from gitops.clusters.kube_cache import Cache
from gitops.clusters.kube_objects import PREFIX, Object
from gitops.clusters.sync_state import Sync
from gitops.clusters.tools import LIST_LIMIT, Wake
from gitops.wiring import Unit
from pipeline.errors import Unavailable

T = TypeVar("T", bound=Object)
Near = Callable[[T, str], int]
"""How near a unit is to a file of the config repository: the depth of its directory, -1 when it does not read it."""


class Theirs(Generic[T]):
    """The units at ``path``; ``own`` are those that Enclii made, which count as well."""

    def __init__(self, api: Api, path: str, kind: type[T], *, own: Iterable[T], near: Near[T], wake: Wake) -> None:
        self._own, self._near, self._wake = own, near, wake
        self._files: dict[ServiceRef, tuple[str, ...]] = {}
        self._units = Cache(api, path, kind, self._changed, selector=f"!{PREFIX}service")
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def unit(self, wanted: Wanted, what: str) -> T | Sync:
        """The nearest unit that reads a target's file, else why there is none; ``what`` is a unit in the tool's words.

        Raises Unavailable while they cannot be read.
        """
        self._files[wanted.ref] = wanted.targets
        await self._ready(what)
        near = {each.metadata.name: (self._nearest(each, wanted.targets), each) for each in self}
        best = max((depth for depth, _ in near.values()), default=-1)
        found = [each for depth, each in near.values() if depth == best]
        if best < 0:
            files = ", ".join(f"/{file}" for file in wanted.targets)
            return Sync("failing", "no_unit", f"no {what} renders {files}: make one for its directory")
        if len(found) > 1:
            names = ", ".join(sorted(each.metadata.name for each in found))
            return Sync("failing", "several_units", f"more than one {what} renders the files of {wanted.ref}: {names}")
        return found[0]

    async def render(self, wanted: Wanted, unit: Unit, what: str) -> bool:
        """Whether a person's unit renders the files, or has to: one of Enclii's is of the service's directory alone.

        Raises Unavailable while they cannot be read.
        """
        found = await self.unit(wanted, what)
        if not isinstance(found, Sync):
            return found.metadata.name != unit.name
        return found.reason == "several_units" or all(depth_of(unit.place.path, file) < 0 for file in wanted.targets)

    def reading(self, file: str) -> Iterator[T]:
        """All units that read a file."""
        return (each for each in self if self._near(each, file) >= 0)

    def __iter__(self) -> Iterator[T]:
        yield from self._own
        yield from self._units

    async def _ready(self, what: str) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._units.run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIST_LIMIT):
                await self._units.listed.wait()
        if not self._units.fresh:
            why = self._units.problem.message if self._units.problem else "no answer"
            raise Unavailable(f"no {what} can be read: {why}", reason="sync_tool_away", delay=5.0)

    def _nearest(self, unit: T, files: Iterable[str]) -> int:
        return max((self._near(unit, file) for file in files), default=-1)

    def _changed(self, old: T | None, new: T | None) -> None:
        for ref, files in self._files.items():
            if any(one is not None and self._nearest(one, files) >= 0 for one in (old, new)):
                self._wake(ref)


def depth_of(directory: str, file: str) -> int:
    """How deep ``directory`` lies if ``file`` is in or below it, else -1; both from the repository's root."""
    path = posixpath.normpath(directory.strip("/") or ".")
    if path == ".":
        return 0
    return path.count("/") + 1 if file.startswith(f"{path}/") else -1
