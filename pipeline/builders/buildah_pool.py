"""buildah as a builder: as many directories as builds may run at once, each with its own store.

A repository goes back to the directory that built it last when that is free, because its layers are there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from pipeline.build_log import LineSink
from pipeline.build_report import BuildReport
from pipeline.builders import BuildFailed, BuildJob, Built, Facts, Limits, buildah, buildah_host
from pipeline.builders.buildah_commands import Isolation, Network
from pipeline.builders.buildah_host import HostFacts
from pipeline.isolation import CHROOT, CONTAINER
from pipeline.registries import Registries


class Buildah:
    """The builder; made by ``open_pool``."""

    def __init__(self, hosts: tuple[HostFacts, ...], limits: Limits) -> None:
        self._free = list(hosts)
        self._hosts = hosts
        self._limits = limits
        self._last: dict[Path, str] = {}
        self._returned = asyncio.Condition()

    @property
    def facts(self) -> Facts:
        first = self._hosts[0]
        version = ".".join(map(str, first.version))
        isolation = CHROOT if first.isolation == "chroot" else CONTAINER
        return Facts("buildah", version, f"{first.isolation} isolation, {first.driver}", first.problems, isolation)

    async def build(self, job: BuildJob, log: LineSink) -> Built:
        """Build in a free directory; wait for one."""
        async with self._directory(job.repository) as host:
            try:
                built = await buildah.build(job, host=host, limits=self._limits, log=log)
            except BuildFailed as error:
                error.report = self._named(error.report or BuildReport())
                raise
        return replace(built, report=self._named(built.report))

    def _named(self, report: BuildReport) -> BuildReport:
        return structs.replace(report, builder=str(self.facts))

    async def sweep(self) -> None:
        """Every directory, one after the other."""
        for host in self._hosts:
            await buildah.sweep(host)

    async def collect(self, max_bytes: int) -> None:
        """Free directories only: a build that runs keeps its store."""
        for host in tuple(self._free):
            await buildah.collect(host, max_bytes // len(self._hosts))

    async def close(self) -> None:
        """Nothing goes on behind a build."""

    @contextlib.asynccontextmanager
    async def _directory(self, repository: str) -> AsyncIterator[HostFacts]:
        async with self._returned:
            await self._returned.wait_for(lambda: self._free)
            host = next((one for one in self._free if self._last.get(one.state) == repository), self._free[0])
            self._free.remove(host)
        self._last[host.state] = repository
        try:
            yield host
        finally:
            async with self._returned:
                self._free.append(host)
                self._returned.notify()


async def open_pool(
    state: Path, *, slots: int, isolation: Isolation, network: Network, limits: Limits,
    registries: Registries | None = None,
) -> Buildah:  # fmt: skip
    """Look at the machine once for each directory. Raises Unavailable when nothing can be built here."""
    places = [state, *(state.with_name(f"{state.name}-{number}") for number in range(1, slots))]
    hosts = [
        await buildah_host.detect(place, isolation=isolation, network=network, registries=registries)
        for place in places
    ]
    return Buildah(tuple(hosts), limits)
