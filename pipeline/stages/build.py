"""Build: from ``build.requested`` to an image and its SBOM in the registry.

The sources come as a blob, by digest, from the registry: this process runs strangers' code, so it has no credential
for git, for the cluster or for signing. Everything that it writes is content-addressed and may be written twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline import build_report, jobs, sbom
from pipeline.build_inputs import BuildInputs
from pipeline.build_log import LogLine
from pipeline.builders import BuildFailed, BuildJob, Built
from pipeline.builders.choice import Chosen
from pipeline.errors import EncliiError, Refused, Retryable, Superseded
from pipeline.events import BuildRequested, Event, ImageBuilt
from pipeline.log_stream import LogStream
from pipeline.previews import repository_of
from pipeline.records import Job
from pipeline.registry import Registry
from pipeline.registry_http import both, together
from pipeline.store import Change, Step, Store, Stored, now
from pipeline.unpacking import unpack

WATCH_SECONDS = 2.0


@dataclass(frozen=True)
class BuildStage:
    """The stage with its ports; ``room`` is a folder for what is unpacked."""

    store: Store
    registry: Registry
    chosen: Chosen
    inputs: BuildInputs
    room: Path

    async def handle(self, event: Event) -> Step:
        """Build one service of one run; an empty step when that is done already."""
        assert isinstance(event, BuildRequested)
        found = await jobs.open_job(self.store, event.run, event.service, "queued", "building")
        if found is None:
            return Step()
        if stop := await jobs.why_stop(self.store, event.run):
            return await jobs.ended_step(self.store, found, *stop)
        if found.record.status == "queued":
            await self.store.commit(Step((Change(jobs.begun(found.record, "build", "building"), found.seq),)))
        try:
            built, documents = await self._built(event)
        except Superseded:
            return await self.handle(event)
        except Retryable as error:
            await self._note(event, error)
            raise
        current = await jobs.open_job(self.store, event.run, event.service, "building")
        return self._step(event, current, built, documents) if current else Step()

    async def failed(self, event: Event, error: Exception) -> Step:
        """The job, failed, with what is known of its steps; its log ends with the reason."""
        assert isinstance(event, BuildRequested)
        log = LogStream(self.store.bus, event.run, event.service)
        await log.line("step", f"failed: {str(error).partition(chr(10))[0]}")
        await log.end()
        step = await jobs.failed_step(event, error, self.store)
        report = error.report if isinstance(error, BuildFailed) else None
        if report is None or not step.changes:
            return step
        change, *others = step.changes
        assert isinstance(change.record, Job)
        return Step((Change(msgspec.structs.replace(change.record, report=report), change.seq), *others))

    async def _note(self, event: BuildRequested, error: Retryable) -> None:
        """Why the build is tried again, for whoever asks in between."""
        with contextlib.suppress(EncliiError):
            log = LogStream(self.store.bus, event.run, event.service)
            await log.line("step", f"tried again later: {error.message} ({error.reason})")
            await log.flush()
            found = await jobs.open_job(self.store, event.run, event.service, "building")
            if found is not None:
                job = msgspec.structs.replace(found.record, reason=error.reason, message=f"retried: {error.message}")
                await self.store.commit(Step((Change(job, found.seq),)))

    async def _built(self, event: BuildRequested) -> tuple[Built, Sboms]:
        log = LogStream(self.store.bus, event.run, event.service)
        builder = self.chosen.by_kind.get(event.builds)
        if builder is None:
            raise Refused(
                f"{event.service}: nothing here builds with {event.builds}; {'; '.join(self.chosen.why)}",
                reason=f"{event.builds}_not_available",
            )
        async with self._sources(event) as context:
            job = await self.inputs.job(event, context, self.registry.host, context.parent / "login" / "config.json")
            await log.line("step", f"build {event.service} at {event.sha[:12]}: {event.detected or event.dockerfile}")
            await log.line(
                "step", next((why for why in self.chosen.why if str(builder.facts) in why), str(builder.facts))
            )
            built = await self._while_wanted(event, builder.build(job, log.sink))
            image = f"{job.repository}@{built.digest}"
            if told := build_report.summary(built.report):
                await log.line("step", told)
            await log.line("step", f"pushed {image}")
            scan = sbom.documents(
                image, plain_http=job.plain_http, commit_time=event.commit_time, authfile=job.authfile
            )
            documents, _ = await both(scan, self._confirmed(job, built))
        await log.line("step", "SBOM made")
        stored, _ = await both(self._stored(event, documents), log.end())
        return built, stored

    async def again(self, event: BuildRequested) -> str:
        """The digest of the same build once more, without any cache and under a tag of its own; no log is kept of it.

        Raises Permanent when the sources do not build a second time, Unavailable.
        """
        builder = self.chosen.by_kind.get(event.builds)
        if builder is None:
            raise Refused(f"nothing here builds with {event.builds}", reason=f"{event.builds}_not_available")
        async with self._sources(event) as context:
            job = await self.inputs.job(event, context, self.registry.host, context.parent / "login" / "config.json")
            job = replace(job, tag=f"{job.tag}-again", cache=None, no_cache=True)
            built = await builder.build(job, _unheard)
        await self._confirmed(job, built)
        return built.digest

    async def _stored(self, event: BuildRequested, documents: sbom.Sboms) -> Sboms:
        """Both documents as blobs of the image's repository, where the signer finds them."""
        repository = repository_of(event.project, event.service, event.trust)
        spdx, cyclonedx = await together(
            self.registry.put_blob(repository, one) for one in (documents.spdx, documents.cyclonedx)
        )
        return Sboms(spdx, cyclonedx)

    async def _confirmed(self, job: BuildJob, built: Built) -> None:
        """The registry's word on what was pushed: a builder's report is only a claim. Raises BuildFailed."""
        repository = job.repository.partition("/")[2]
        pushed = await self.registry.manifest(repository, job.tag)
        if pushed is None or pushed.digest != built.digest:
            said = pushed.digest if pushed else "nothing"
            text = f"the builder says that it pushed {built.digest}, the registry holds {said}"
            raise BuildFailed(text, reason="build_digest_mismatch")

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
        repository = repository_of(event.project, event.service, event.trust)
        data = await self.registry.blob(repository, event.source, limit=self.inputs.context_limit)
        self.room.mkdir(mode=0o700, parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix="context-", dir=self.room))
        try:
            await asyncio.to_thread(unpack, data, room / "sources")
            del data
            yield room / "sources"
        finally:
            await asyncio.to_thread(shutil.rmtree, room, ignore_errors=True)

    def _builder(self, event: BuildRequested) -> str:
        builder = self.chosen.by_kind.get(event.builds)
        return f"{builder.facts.name} {builder.facts.version}" if builder else ""

    def _step(self, event: BuildRequested, found: Stored[Job], built: Built, documents: Sboms) -> Step:
        image = f"{self.registry.host}/{repository_of(event.project, event.service, event.trust)}@{built.digest}"
        job = msgspec.structs.replace(
            jobs.finished(found.record, "build"), image=image, status="signing", report=built.report,
            reason="", message="",
        )  # fmt: skip
        following = ImageBuilt(
            id=event.id, at=now(), trace=event.trace, run=event.run, project=event.project, service=event.service,
            image=image, sbom=documents.spdx, cyclonedx=documents.cyclonedx, builds=event.builds,
            builder=self._builder(event), build_key=event.build_key, started_at=built.started_at,
            finished_at=built.finished_at, bases=dict(built.bases), commit_time=event.commit_time,
            isolation=self.chosen.by_kind[event.builds].facts.isolation,
        )  # fmt: skip
        return Step((Change(job, found.seq),), (following,))


class Sboms(NamedTuple):
    """The digests of an image's SBOMs."""

    spdx: str
    cyclonedx: str


async def _unheard(_line: LogLine) -> None:
    return None
