"""The gate before every config commit: no verdict, no deployment.

A check that can't be made fails closed. A digest that passed before for the same commit keeps its stored verdict, so
that a rollback works while the registry is down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pipeline.evidence import Demand
from pipeline.images import ImageRef
from pipeline.keys import PublicKey
from pipeline.records import Release, Verdict
from pipeline.registry import Registry
from pipeline.store import Change, Step, Store
from pipeline.verify import verify_image

PROVENANCE = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True)
class Gate:
    """Verification with a memory."""

    store: Store
    registry: Registry
    keys: Sequence[PublicKey]
    builder_ids: frozenset[str]

    async def release(self, release: Release) -> Verdict:
        """The verdict for a release: signed, with provenance and SBOM, from its own repository and commit.

        Raises Refused with the reason, Unavailable when a check could not be made.
        """
        known = await self.store.get(Verdict, release.image)
        if known and known.record.source_url == release.source_url and release.sha in known.record.shas:
            return known.record
        demand = Demand(source_url=release.source_url, sha=release.sha, builder_ids=self.builder_ids)
        return await self._verified(release.image, demand, release.sha)

    async def image(self, image: str) -> Verdict:
        """The verdict for a digest that came into git by another hand: whatever its source, it must be signed."""
        known = await self.store.get(Verdict, image)
        return known.record if known else await self._verified(image, None, "")

    async def _verified(self, image: str, demand: Demand | None, sha: str) -> Verdict:
        found = await verify_image(self.registry, ImageRef.parse(image), keys=self.keys, demand=demand)
        known = await self.store.get(Verdict, image)
        shas = {*(known.record.shas if known else ()), sha or found.sha}
        verdict = Verdict(
            image=image, source_url=found.source_url, shas=tuple(sorted(shas - {""})),
            provenance=next(iter(found.predicates.get(PROVENANCE, ())), ""), verified_at=found.checked_at,
        )  # fmt: skip
        if known is None or msgspec.structs.replace(known.record, verified_at=found.checked_at) != verdict:
            await self.store.commit(Step((Change(verdict, known.seq if known else 0),)))
        return verdict
