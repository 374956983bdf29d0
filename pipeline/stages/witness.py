"""Witness: attests what came of building an image a second time.

That the second image exists is the registry's word; that it was built without a cache is the builder's.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import jobs
from pipeline.attest import Reproduction
from pipeline.errors import NotFound, Refused
from pipeline.events import Event, ImageRebuilt
from pipeline.images import ImageRef
from pipeline.records import Image
from pipeline.registry import Registry
from pipeline.store import Step, Store
from pipeline.supply import sign_reproduction
from pipeline.trust import Signs


@dataclass(frozen=True)
class Witness:
    """The stage with its ports."""

    store: Store
    registry: Registry
    key: Signs
    builder_id: str

    async def handle(self, event: Event) -> Step:
        """Attest one comparison, never of a preview's image; doing it again adds nothing."""
        assert isinstance(event, ImageRebuilt)
        if await jobs.of_preview(self.store, event.run):
            return Step()
        image = ImageRef.parse(event.image)
        known = await self.store.get(Image, event.build_key)
        if known is None or known.record.image != event.image:
            raise Refused(f"{event.image} was never signed for these build inputs", reason="image_unknown")
        if event.rebuilt and await self.registry.manifest(image.repository, event.rebuilt) is None:
            raise NotFound(f"the registry has no image {event.rebuilt}", reason="image_unknown")
        told = Reproduction(
            rebuilt=event.rebuilt, failure=event.failure, builder_id=self.builder_id, tool=event.builder,
            provenance=known.record.provenance, started_at=event.started_at, finished_at=event.finished_at,
        )  # fmt: skip
        await sign_reproduction(self.registry, image, key=self.key, reproduction=told)
        return Step()
