"""Build: from ``build.requested`` to an image and its SBOM in the registry.

The sources come as a blob, by digest, from the registry: this process runs strangers' code, so it has no credential
for git, for the cluster or for signing. Everything that it writes is content-addressed and may be written twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pipeline import buildah, jobs, sbom
from pipeline.buildah import BuildJob, Built, Limits
from pipeline.buildah_host import HostFacts
from pipeline.errors import EncliiError, Superseded
from pipeline.events import BuildRequested, Event, ImageBuilt
from pipeline.log_stream import LogStream
from pipeline.records import Job
from pipeline.registry import Registry
from pipeline.servicefile import ServiceSpec
from pipeline.store import Change, Step, Store, Stored, now

SOURCE_LIMIT = 512 << 20
WATCH_SECONDS = 2.0


@dataclass(frozen=True)
class Builder:
    """The stage with its ports."""

    store: Store
    registry: Registry
    host: HostFacts
    limits: Limits
    plain_http: bool

    async def handle(self, event: Event) -> Step:
        """Build one service of one run; an empty step when that is done already."""
        assert isinstance(event, BuildRequested)
        found = await jobs.open_job(self.store, event.run, event.service, "queued", "building")
        if found is None:
            return Step()
        if stop := await jobs.why_stop(self.store, event.run):
            status, reason, message = stop
            return Step((Change(jobs.ended(found.record, status, reason=reason, message=message), found.seq),))
        if found.record.status == "queued":
            await self.store.commit(Step((Change(jobs.begun(found.record, "build", "building"), found.seq),)))
        try:
            built, document = await self._built(event)
        except Superseded:
            return await self.handle(event)
        current = await jobs.open_job(self.store, event.run, event.service, "building")
        return self._step(event, current, built, document) if current else Step()

    async def failed(self, event: Event, error: Exception) -> Step:
        """The job, failed; its log ends with the reason."""
        assert isinstance(event, BuildRequested)
        log = LogStream(self.store.bus, event.run, event.service)
        await log.line("step", f"failed: {error}")
        await log.end()
        return await jobs.failed_step(event, error, self.store)

    async def _built(self, event: BuildRequested) -> tuple[Built, str]:
        log = LogStream(self.store.bus, event.run, event.service)
        async with self._sources(event) as context:
            spec = msgspec.json.decode(event.spec, type=ServiceSpec)
            await log.line("step", f"build {event.service} at {event.sha[:12]} with {event.dockerfile}")
            job = BuildJob(
                context=context,
                repository=f"{self.registry.host}/{event.project}/{event.service}",
                tag=event.run,
                timestamp=event.commit_time,
                dockerfile=event.dockerfile,
                target=spec.build.target,
                arguments=spec.build.args,
                pins=event.bases,
                plain_http=self.plain_http,
            )
            built = await self._while_wanted(
                event, buildah.build(job, host=self.host, limits=self.limits, log=log.sink)
            )
        image = f"{job.repository}@{built.digest}"
        await log.line("step", f"pushed {image}")
        document = await sbom.spdx(image, plain_http=self.plain_http, commit_time=event.commit_time)
        await log.line("step", "SBOM made")
        await log.end()
        return built, await self.registry.put_blob(f"{event.project}/{event.service}", document)

    async def _while_wanted(self, event: BuildRequested, work: Coroutine[Any, Any, Built]) -> Built:
        """The build's result; Superseded as soon as nobody wants it any more."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=WATCH_SECONDS)
                stop = None
                with contextlib.suppress(EncliiError):  # an outage does not end a build
                    stop = await jobs.why_stop(self.store, event.run)
                if stop and not task.done():
                    raise Superseded(stop[2], reason=stop[1])
            return task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, EncliiError):
                await task

    @contextlib.asynccontextmanager
    async def _sources(self, event: BuildRequested) -> AsyncIterator[Path]:
        data = await self.registry.blob(f"{event.project}/{event.service}", event.source, limit=SOURCE_LIMIT)
        self.host.scratch.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix="context-", dir=self.host.scratch))
        try:
            await asyncio.to_thread(_unpack, data, room)
            yield room
        finally:
            await asyncio.to_thread(shutil.rmtree, room, ignore_errors=True)

    def _step(self, event: BuildRequested, found: Stored[Job], built: Built, document: str) -> Step:
        image = f"{self.registry.host}/{event.project}/{event.service}@{built.digest}"
        job = msgspec.structs.replace(jobs.finished(found.record, "build"), image=image, status="signing")
        following = ImageBuilt(
            id=event.id, at=now(), trace=event.trace, run=event.run, project=event.project, service=event.service,
            image=image, sbom=document, build_key=event.build_key, started_at=built.started_at,
            finished_at=built.finished_at, bases=dict(built.bases), commit_time=event.commit_time,
        )  # fmt: skip
        return Step((Change(job, found.seq),), (following,))


def _unpack(data: bytes, room: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(room, filter="tar")
