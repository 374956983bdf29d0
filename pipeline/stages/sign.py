"""Sign: from ``image.built`` to a release that a stranger can verify.

A release is ready only after its signature, provenance and SBOM were read back from the registry. Its number is
given in the same atomic step, so a crash at any point gives one release and one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from pipeline import jobs
from pipeline.attest import Link, Provenance
from pipeline.errors import NotFound, Refused
from pipeline.events import Event, ImageBuilt, ReleaseReady
from pipeline.image_user import image_user
from pipeline.images import ImageRef
from pipeline.isolation import builder_id
from pipeline.log import learned
from pipeline.names import release_id
from pipeline.records import Image, Job, Release, Repository, Run, ServiceRecord
from pipeline.registry import Registry
from pipeline.seen import Seen
from pipeline.servicefile import ServiceSpec
from pipeline.store import Change, Step, Store, Stored, now
from pipeline.supply import sign_link, sign_release
from pipeline.trust import Signs, Trusted

AT_ONCE = 8
"""Releases in hand at once: while one waits for the registry's disk, another is signed."""
SBOM_LIMIT = 64 << 20


@dataclass(frozen=True)
class Signer:
    """The stage with its ports; the only one that holds the signing key."""

    store: Store
    registry: Registry
    key: Signs
    builder_id: str
    preview_key: Signs
    """Signs what previews run, which no other environment takes."""
    accepted: Sequence[Trusted] = ()
    """What may have signed an image that is used again, beside ``key``: a key that was rotated."""
    _seen: Seen = field(default_factory=Seen, init=False, repr=False)

    async def handle(self, event: Event) -> Step:
        """Sign one image and number its release; an empty step when that is done already."""
        assert isinstance(event, ImageBuilt)
        found = await jobs.open_job(self.store, event.run, event.service, "signing")
        if found is None:
            return Step()
        if stop := await jobs.why_stop(self.store, event.run):
            return await jobs.ended_step(self.store, found, *stop)
        run, repository = await self._origin(event.run)
        job = jobs.begun(found.record, "sign", "signing")
        image = await self._attested(event, run, repository, job)
        return await self._release(event, Stored(job, found.seq), run, repository, image)

    async def failed(self, event: Event, error: Exception) -> Step:
        """The job, failed."""
        return await jobs.failed_step(event, error, self.store)

    async def _origin(self, run_id: str) -> tuple[Run, Repository]:
        run = await self.store.get(Run, run_id)
        repository = await self.store.get(Repository, run.record.repository) if run else None
        if run is None or repository is None:
            raise NotFound(f"run {run_id} or its repository is not known", reason="run_unknown")
        learned(commit=run.record.sha[:12])
        return run.record, repository.record

    async def _attested(self, event: ImageBuilt, run: Run, repository: Repository, job: Job) -> Image:
        image = ImageRef.parse(event.image)
        if not event.reused:
            return await self._signed(event, run, repository, job, image)
        known = await self.store.get(Image, event.build_key)
        if known is None or known.record.image != event.image:
            raise Refused(f"{event.image} was never signed for these build inputs", reason="image_unknown")
        link = Link(
            source_url=repository.url, ref=run.ref, sha=run.sha, tree=job.tree, build_key=event.build_key,
            provenance=known.record.provenance, run=run.id,
        )  # fmt: skip
        if (run.sha, repository.url) != (known.record.sha, known.record.source_url):
            await sign_link(
                self.registry, image, key=self._key(run), link=link, accepted=self.accepted, seen=self._seen
            )
        return known.record

    async def _signed(self, event: ImageBuilt, run: Run, repository: Repository, job: Job, image: ImageRef) -> Image:
        spec = msgspec.json.decode(job.spec, type=ServiceSpec)
        provenance = Provenance(
            source_url=repository.url, ref=run.ref, sha=run.sha, path=spec.path, kind=event.builds,
            build_args=spec.build.args, builder_id=builder_id(self.builder_id, event.isolation), invocation_id=run.id,
            started_at=event.started_at, finished_at=event.finished_at, bases=tuple(sorted(event.bases.items())),
            tool=event.builder,
        )  # fmt: skip
        spdx = await self.registry.blob(image.repository, event.sbom, limit=SBOM_LIMIT)
        other = event.cyclonedx and await self.registry.blob(image.repository, event.cyclonedx, limit=SBOM_LIMIT)
        signed = await sign_release(
            self.registry, image, key=self._key(run), provenance=provenance, sbom=spdx, cyclonedx=other or None
        )
        return Image(
            build_key=event.build_key, image=event.image, sbom=event.sbom, source_url=repository.url, sha=run.sha,
            run=run.id, provenance=signed.provenance, built_at=event.finished_at,
            bases=event.bases, user=await image_user(self.registry, image.repository, signed.subject),
        )  # fmt: skip

    def _key(self, run: Run) -> Signs:
        return self.key if run.preview is None else self.preview_key

    async def _release(
        self, event: ImageBuilt, job: Stored[Job], run: Run, repository: Repository, image: Image
    ) -> Step:
        preview = run.preview.environment if run.preview else ""
        place = (event.project, event.service, *((preview,) if preview else ()))
        counter = await self.store.get(ServiceRecord, *place)
        number = counter.record.last_release + 1 if counter else 1
        spec = msgspec.Raw(job.record.spec.encode())
        release = Release(
            id=release_id(event.project, event.service, number, preview=preview), project=event.project,
            service=event.service,
            number=number, image=event.image, sha=run.sha, ref=run.ref, repository=repository.id,
            source_url=repository.url, actor=run.actor, subject_line=run.subject_line, run=run.id, spec=spec,
            resumes=run.resumes, reused=event.reused, user=image.user, created_at=now(),
            preview=run.preview,
        )  # fmt: skip
        record = ServiceRecord(
            project=event.project,
            service=event.service,
            last_release=number,
            repository=repository.id,
            preview=preview,
        )
        done = msgspec.structs.replace(jobs.finished(job.record, "sign"), status="committing", release=release.id)
        known = () if event.reused else (Change(image, None),)
        ready = ReleaseReady(
            id=event.id, at=now(), trace=event.trace, release=release.id, run=run.id, project=event.project,
            service=event.service,
        )  # fmt: skip
        changes = (Change(done, job.seq), Change(record, counter.seq if counter else 0), Change(release, 0), *known)
        return Step(changes, (ready,))
