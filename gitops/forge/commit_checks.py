"""What a forge says of a commit's checks, for the promotions that ask for them by name.

A promotion counts what its forge said after it was asked for; so it waits while the forge is away, whatever was said
earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gitops.forge.forges import Forges
from pipeline.events import CheckReported
from pipeline.names import token
from pipeline.promotions import Check, CheckState, Member, Promotion
from pipeline.records import Project, Release
from pipeline.store import Store, now

_BAD: Final[Mapping[CheckState, int]] = {"success": 0, "pending": 1, "failure": 2}


def worst(*said: tuple[str, CheckState]) -> dict[str, CheckState]:
    """Name → state; of several of one name the worst."""
    found: dict[str, CheckState] = {}
    for name, state in said:
        found[name] = max(found.get(name, state), state, key=lambda one: _BAD[one])
    return found


class CommitChecks:
    """Reads the checks that a promotion waits for from the forge of each commit."""

    def __init__(self, store: Store, forges: Forges) -> None:
        self._store = store
        self._forges = forges

    async def tend(self, one: Promotion) -> None:
        """Report what changed. Raises as the forge does."""
        project = await self._store.get(Project, one.project)
        environments = project.record.environments if project else ()
        rule = next((found.promotion for found in environments if found.name == one.environment), None)
        names = rule.checks if rule and one.source else ()
        for member in one.members if names else ():
            await self._member(one, member, names)

    async def _member(self, one: Promotion, member: Member, names: tuple[str, ...]) -> None:
        release = await self._store.get(Release, member.release)
        place = await self._forges.of(release.record.repository) if release else None
        if place is None:
            return  # its checks are reported to Enclii, or to nobody
        said = await place.forge.checks(place.where, member.sha)
        for name in names:
            if name in said:
                await self._report(one, member, name, said[name], place.forge.name)

    async def _report(self, one: Promotion, member: Member, name: str, state: CheckState, forge: str) -> None:
        stored = await self._store.get(Check, one.project, member.sha, name)
        known = stored.record if stored else None
        if known and known.forge and known.state == state and known.at >= one.created_at:
            return
        told = CheckReported(
            id=token(one.id, member.sha, name, state, known.at if known else ""), at=now(), trace=one.trace,
            project=one.project, sha=member.sha, name=name, state=state, actor=forge, forge=forge,
        )  # fmt: skip
        await self._store.publish(told)
