"""What the committer asks of others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gitops.order import IsDescendant
from pipeline.records import Release, Verdict

Gate = Callable[[Release], Awaitable[Verdict]]
"""Verifies a release; raises Refused or Unavailable."""
Resumes = Callable[[Release], Awaitable[frozenset[str]]]
"""The environments whose hold the release's own commit takes away by its trailer."""


@dataclass(frozen=True)
class Ports:
    """What the committer asks of others."""

    gate: Gate
    is_descendant: IsDescendant
    resumes: Resumes
