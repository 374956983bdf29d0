"""The second half of the gate: the policy in the config repository, asked before every config commit.

What passed leaves a signed verification summary beside the image, and its digest in the commit. What passed the very
same policy before is not judged again, so that a rollback works while the registry is down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from gitops.gate.evaluation import Evaluation, evaluate
from gitops.gate.policyfile import POLICY_FILE, Policy
from gitops.gate.signatures import Gate
from pipeline.errors import Refused
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from pipeline.records import Release, Verdict
from pipeline.registry import Registry
from pipeline.store import Change, Step, Store, now
from pipeline.summary import Summary, statement
from pipeline.supply import sign_summary

Reachable = Callable[[str, str, str], Awaitable[bool | None]]
"""(repository, commit, branch) → whether the branch holds the commit; None when that could not be found out."""


@dataclass(frozen=True)
class Permit:
    """The policy's judge; ``verifier`` is the URI by which its summaries name it."""

    store: Store
    registry: Registry
    gate: Gate
    key: SigningKey
    verifier: str
    reachable: Reachable

    async def __call__(self, release: Release, policy: Policy, branch: str) -> str:
        """The digest of the summary. Raises Refused with every rule that failed, Unavailable."""
        judged = _judged_by(policy, release, branch)
        known = await self.store.get(Verdict, release.image)
        if known is not None and judged in known.record.summaries:
            return known.record.summaries[judged]
        evaluation = await self.evaluation(release, policy, branch)
        if not evaluation.passed:
            raise Refused(f"the policy forbids {release.id}: {evaluation.refusal}", reason="policy_refused")
        digest = await self._summarised(release, policy)
        if not evaluation.overridden:  # an override may end, so what it let pass is asked again
            await self._keep(release.image, judged, digest)
        return digest

    async def evaluation(self, release: Release, policy: Policy, branch: str) -> Evaluation:
        """Every rule with its answer, as the gate asks it."""
        facts = await self.gate.facts(release.image)
        if policy.reachable:
            facts = replace(facts, reachable=await self.reachable(release.repository, release.sha, branch))
        return evaluate(policy, facts, builders=self.gate.builder_ids, at=datetime.now(UTC))

    async def _summarised(self, release: Release, policy: Policy) -> str:
        facts = await self.gate.facts(release.image)
        image = ImageRef.parse(release.image)
        uri = f"{release.project}/{POLICY_FILE}"
        summary = Summary(self.verifier, now(), uri, policy.digest, facts.attestations, passed=True)
        return await sign_summary(self.registry, image, key=self.key, payload=statement(image, summary))

    async def _keep(self, image: str, judged: str, digest: str) -> None:
        known = await self.store.get(Verdict, image)
        if known is not None:
            told = {**known.record.summaries, judged: digest}
            await self.store.commit(Step((Change(msgspec.structs.replace(known.record, summaries=told), known.seq),)))


def _judged_by(policy: Policy, release: Release, branch: str) -> str:
    """What a stored summary stands for: the policy, and the commit where the policy asks for it."""
    return f"{policy.digest}/{branch}/{release.sha}" if policy.reachable else policy.digest
