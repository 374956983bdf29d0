"""The gate before every config commit: no verdict, no deployment.

A check that can't be made fails closed. A digest that passed before for the same commit keeps its stored verdict, so
that a rollback works while the registry is down.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from gitops.gate.evaluation import Facts, packages
from pipeline import attest
from pipeline.errors import Refused
from pipeline.evidence import DEFAULT, Demand, Evidence
from pipeline.images import ImageRef
from pipeline.previews import is_preview_image
from pipeline.records import Release, Shed, Verdict
from pipeline.registry import Registry
from pipeline.seen import Seen
from pipeline.store import Change, Step, Store, Stored
from pipeline.trust import Trusted
from pipeline.verify import gather_evidence, judge

KEPT = 64
"""Images whose facts stay in memory, for the policy that is asked right after the signature."""

SECOND = len("2026-01-01T00:00:00")
"""Times are compared to the second, the coarser of the two; what fell into the same one is verified again."""


@dataclass(frozen=True)
class Gate:
    """Verification with a memory."""

    store: Store
    registry: Registry
    keys: Sequence[Trusted]
    builder_ids: frozenset[str]
    preview_keys: Sequence[Trusted] = ()
    """Of what previews run. It opens no other environment."""
    _facts: OrderedDict[str, Facts] = field(default_factory=OrderedDict, init=False, repr=False)
    _seen: Seen = field(default_factory=Seen, init=False, repr=False)

    async def release(self, release: Release) -> Verdict:
        """The verdict for a release: signed, with provenance and SBOM, from its own repository and commit.

        Raises Refused with the reason, Unavailable when a check could not be made.
        """
        known = await self.store.get(Verdict, release.image)
        shed = await self.store.get(Shed, release.image)
        preview = release.preview is not None
        fits = (
            known
            and known.record.preview == preview
            and known.record.source_url == release.source_url
            and release.sha in known.record.shas
        )
        if known and fits and (shed is None or shed.record.at[:SECOND] < known.record.verified_at[:SECOND]):
            return known.record
        demand = Demand(source_url=release.source_url, sha=release.sha, builder_ids=self.builder_ids)
        try:
            return await self._verified(release.image, demand, release.sha, preview=preview)
        except Refused as error:
            raise _explained(error, release, shed) from error

    async def image(self, image: str, *, preview: bool = False) -> Verdict:
        """The verdict for a digest that came into git by another hand: whatever its source, it must be signed.

        Only a ``preview`` takes what was signed for previews, and from their own paths alone: what it has of its base
        environment is signed as that asks for.
        """
        known = await self.store.get(Verdict, image)
        if known is not None and (preview or not known.record.preview):
            return known.record
        return await self._verified(image, None, "", preview=preview and is_preview_image(image))

    async def facts(self, image: str) -> Facts:
        """What a policy may ask of an image. Raises Refused, Unavailable when it could not be read."""
        if image not in self._facts:
            self._keep(image, await self._evidence(image, self.keys))
        return self._facts[image]

    async def _verified(self, image: str, demand: Demand | None, sha: str, *, preview: bool) -> Verdict:
        evidence = await self._evidence(image, self.preview_keys if preview else self.keys)
        found = judge(evidence, ImageRef.parse(image), demand)
        self._keep(image, evidence)
        known = await self.store.get(Verdict, image)
        shas = {*(known.record.shas if known else ()), sha or found.sha}
        verdict = Verdict(
            image=image, source_url=found.source_url, shas=tuple(sorted(shas - {""})),
            provenance=next(iter(found.predicates.get(attest.PROVENANCE, ())), ""), verified_at=found.checked_at,
            summaries=known.record.summaries if known else {}, preview=preview,
        )  # fmt: skip
        if known is None or msgspec.structs.replace(known.record, verified_at=found.checked_at) != verdict:
            await self.store.commit(Step((Change(verdict, known.seq if known else 0),)))
        return verdict

    async def _evidence(self, image: str, keys: Sequence[Trusted]) -> Evidence:
        return await gather_evidence(self.registry, ImageRef.parse(image), keys=keys, seen=self._seen)

    def _keep(self, image: str, evidence: Evidence) -> None:
        self._facts[image] = facts_of(image, evidence)
        while len(self._facts) > KEPT:
            self._facts.popitem(last=False)


def _explained(error: Refused, release: Release, shed: Stored[Shed] | None) -> Refused:
    """Why nothing is found beside an image: the registry's retention has shed both."""
    if shed is None:
        return error
    text = f"the image of v{release.number} was shed from the registry; build its commit again: enclii rebuild"
    return Refused(f"{text} {release.sha[:12]}", reason="image_shed")


def _signers(evidence: Evidence, predicate_type: str) -> frozenset[str]:
    return frozenset(one.signer for one in evidence.of(predicate_type))


def facts_of(image: str, evidence: Evidence) -> Facts:
    """What was proven of an image, as a policy asks for it."""
    origins = evidence.origins()
    return Facts(
        image=image,
        predicates=frozenset(one.predicate_type for one in evidence.statements),
        builder=origins[-1].builder_id if origins else "",
        identities=frozenset.intersection(*(_signers(evidence, kind) for kind in DEFAULT)),
        packages=packages(one.predicate for one in evidence.of(attest.SBOM)),
        attestations=tuple(sorted(one.manifest for one in evidence.statements)),
    )
