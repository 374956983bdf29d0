"""What the committer asks of others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from gitops.order import IsDescendant
from gitops.policyfile import Policy
from pipeline.records import Release, Verdict

Gate = Callable[[Release], Awaitable[Verdict]]
"""Verifies a release; raises Refused or Unavailable."""
Permit = Callable[[Release, Policy, str], Awaitable[str]]
"""Judges a verified release by a policy, for a branch; the digest of the signed summary. Raises as the gate does."""
Resumes = Callable[[Release], Awaitable[frozenset[str]]]
"""The environments whose hold the release's own commit takes away by its trailer."""


class Clearance(NamedTuple):
    """The verdict on signature, source and commit, and the digest of the summary that the policy was fulfilled."""

    verdict: Verdict
    summary: str


@dataclass(frozen=True)
class Ports:
    """What the committer asks of others."""

    gate: Gate
    permit: Permit
    is_descendant: IsDescendant
    resumes: Resumes
