"""Older never replaces newer: how two commits of a source repository stand to each other, and what follows from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from pipeline.errors import Refused
from pipeline.records import Environment, Release, Target

Order = Literal["first", "same", "newer", "older", "diverged"]
IsDescendant = Callable[[str, str, str], Awaitable[bool | None]]
"""(repository, new, old) → whether ``new`` descends from ``old``; None when one of them is not known there."""


async def compare(is_descendant: IsDescendant, release: Release, target: Target | None) -> Order:
    """How ``release`` stands to what is deployed. Raises what the port raises."""
    if target is None or not target.deployment or not target.sha:
        return "first"
    if release.sha == target.sha:
        return "same"
    if await is_descendant(release.repository, release.sha, target.sha):
        return "newer"
    if await is_descendant(release.repository, target.sha, release.sha):
        return "older"
    return "diverged"


def forced(order: Order, *, environment: Environment, force: bool, release: Release) -> bool:
    """True when the release goes out though it does not descend from what is deployed. Raises Refused when it may not.

    An older release is refused even with force: going back is a rollback, which holds.
    """
    if order == "older":
        raise Refused(
            f"v{release.number} is older than what is deployed; use a rollback to go back", reason="older_than_deployed"
        )
    if order == "diverged" and environment.protected and not force:
        raise Refused(
            f"{release.sha[:12]} does not descend from what is deployed in the protected environment"
            f" {environment.name}; deploy it with --force",
            reason="diverged",
        )
    return order == "diverged"
