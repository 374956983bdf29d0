"""What a release must have before it is written into git: the gate's verdict and the policy's."""

from __future__ import annotations

from gitops.committing.ports import Clearance, Ports
from gitops.committing.session import Session
from pipeline.records import Release


async def clear(session: Session, release: Release, branch: str, ports: Ports) -> Clearance:
    """Ask both; ``branch`` feeds the environment. Raises Refused, Unavailable, Invalid for a policy that is none.

    A policy rules what enters an environment; of a preview signature, provenance and SBOM are asked, by its own key.
    """
    verdict = await ports.gate(release)
    if release.preview is not None:
        return Clearance(verdict, "")
    policy = await session.policy(release.project)
    return Clearance(verdict, await ports.permit(release, policy, branch))
