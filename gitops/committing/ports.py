"""What the committer asks of others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from gitops.gate.policyfile import Policy
from gitops.rules.order import IsDescendant
from pipeline.records import Release, Repository, Verdict

Gate = Callable[[Release], Awaitable[Verdict]]
"""Verifies a release; raises Refused or Unavailable."""
Permit = Callable[[Release, Policy, str], Awaitable[str]]
"""Judges a verified release by a policy, for a branch; the digest of the signed summary. Raises as the gate does."""
Resumes = Callable[[Release], Awaitable[frozenset[str]]]
"""The environments whose hold the release's own commit takes away by its trailer."""
SpecOf = Callable[[Repository, str, str], Awaitable[bytes | None]]
"""A service by its name, at a commit of a repository, as JSON; None when it cannot be read."""


async def unreadable(_: Repository, __: str, ___: str) -> bytes | None:
    """No source can be read."""
    return None


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
    spec_of: SpecOf = unreadable
