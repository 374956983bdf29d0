"""The gate's questions asked again, for anyone: every check with its answer. Nothing is stored or let pass by it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gitops.committing.sources import Sources
from gitops.gate.evaluation import Check, Evaluation, Facts, evaluate
from gitops.gate.policyfile import POLICY_FILE, Policy, combined
from gitops.gate.signatures import facts_of
from gitops.git.configrepo import ConfigRepo
from pipeline import attest, evidence, names
from pipeline.errors import Refused
from pipeline.evidence import Demand, Evidence
from pipeline.images import ImageRef
from pipeline.records import Release
from pipeline.registry import Registry
from pipeline.trust import Trusted
from pipeline.verify import gather_evidence, judge


@dataclass(frozen=True)
class Inspector:
    """What an inspection needs; ``registry`` is asked anew each time."""

    registry: Registry
    repo: ConfigRepo
    keys: Sequence[Trusted]
    builder_ids: frozenset[str]
    sources: Sources

    async def release(self, release: Release) -> Evaluation:
        """What the gate asks before it lets ``release`` into git. Raises Unavailable, Invalid for a broken policy."""
        found = await self._evidence(release.image)
        demand = Demand(release.source_url, release.sha, self.builder_ids)
        policy = await asyncio.to_thread(self.policy, release.project)
        facts = facts_of(release.image, found)
        if policy.reachable:
            branch = names.branch(release.ref) or ""
            facts = replace(facts, reachable=await self.sources.on_branch(release.repository, release.sha, branch))
        return _evaluated(found, facts, demand, policy, self.builder_ids)

    async def image(self, image: str, project: str) -> Evaluation:
        """The same for an image alone: whatever its source, it must be signed and fulfil the policy."""
        policy = await asyncio.to_thread(self.policy, project)
        return await inspected(self.registry, image, self.keys, policy, self.builder_ids)

    async def _evidence(self, image: str) -> Evidence:
        return await gather_evidence(self.registry, ImageRef.parse(image), keys=self.keys)

    def policy(self, project: str) -> Policy:
        """What a project's policy is now; of all projects alike with "". Raises Invalid, Unavailable."""
        tip = self.repo.fetch()
        own = f"{names.name(project)}/{POLICY_FILE}" if project else ""
        if not tip:
            return Policy()
        return combined(self.repo.read(tip, POLICY_FILE), self.repo.read(tip, own) if own else None)


async def inspected(
    registry: Registry,
    image: str,
    keys: Sequence[Trusted],
    policy: Policy,
    builder_ids: frozenset[str],
    demand: Demand | None = None,
) -> Evaluation:
    """What the gate would say of an image, by what lies beside it alone: for anyone, with the registry and a key."""
    found = await gather_evidence(registry, ImageRef.parse(image), keys=keys)
    return _evaluated(found, facts_of(image, found), demand, policy, builder_ids)


def _evaluated(
    found: Evidence, facts: Facts, demand: Demand | None, policy: Policy, builder_ids: frozenset[str]
) -> Evaluation:
    told = evaluate(policy, facts, builders=builder_ids, at=datetime.now(UTC))
    return Evaluation((_verified(found, facts.image, demand), *told.checks, *_reproduced(found)))


def _reproduced(found: Evidence) -> list[Check]:
    """What second builds gave, for whoever looks. The gate does not ask: another digest is no proof of harm."""
    answers = [evidence.reproduced(one) for one in found.of(attest.REPRODUCTION)]
    same, other = "built again without cache: the same image", "built again without cache: another image"
    return [Check("reproduced", passed=True, detail=same if ok else f"{other}, {what}") for ok, what in answers]


def _verified(found: Evidence, image: str, demand: Demand | None) -> Check:
    """Signature, provenance and SBOM by the digest, and with ``demand`` the source and the commit."""
    try:
        verdict = judge(found, ImageRef.parse(image), demand)
    except Refused as error:
        return Check("signature", passed=False, detail=error.message)
    return Check("signature", passed=True, detail=f"{verdict.source_url} at {verdict.sha[:12]}, by its {verdict.via}")
