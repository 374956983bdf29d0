"""What a release must have before it is written into git: the gate's verdict and the policy's."""

from __future__ import annotations

from gitops.committing.ports import Clearance, Ports
from gitops.committing.session import Session
from pipeline.records import Release


async def clear(session: Session, release: Release, branch: str, ports: Ports) -> Clearance:
    """Ask both; ``branch`` feeds the environment. Raises Refused, Unavailable, Invalid for a policy that is none."""
    verdict = await ports.gate(release)
    policy = await session.policy(release.project)
    return Clearance(verdict, await ports.permit(release, policy, branch))
