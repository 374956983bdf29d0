"""Rebase: builds what is deployed again when a tag that it was built from leads to another digest now.

The planner looks on a schedule, asks each base image's registry for the tag's digest, and plans the deployed commit as
``enclii rebuild`` does, under an id made of the commit and the new digests: so a move starts one run, whoever looks how
often. A registry that does not answer is asked the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from pipeline import dockerfile, names
from pipeline.errors import EncliiError
from pipeline.events import Delivery, Event
from pipeline.inventory import held
from pipeline.records import Decision, Image, Project, Record, Release, Target
from pipeline.registries import Registries
from pipeline.registry import Registry
from pipeline.schedule import until_next
from pipeline.store import Change, Step, Store, now
from pipeline.worker import settle

log = logging.getLogger(__name__)

REASON = "base_moved"

Leads = Callable[[str], Awaitable[frozenset[str]]]
"""The digests that a reference leads to now: the tag's own, and those of the index that it names."""


@dataclass(frozen=True)
class Rebase:
    """The stage with its ports; ``plan`` is the planner's way with a delivery."""

    store: Store
    plan: Callable[[Event], Awaitable[Step]]
    leads: Leads

    async def on_schedule(self, schedule: str, stopping: asyncio.Event) -> None:
        """Look each time that ``schedule`` says, until ``stopping`` is set; nothing when it says never."""
        while (seconds := until_next(schedule, datetime.datetime.now(datetime.UTC))) is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stopping.wait()
            if stopping.is_set():
                return
            try:
                await self.look()
            except EncliiError as error:
                log.warning("base images were not looked at: %s (%s)", error, error.reason)

    async def look(self) -> int:
        """Plan what stands on a base image that has moved; how many services those are."""
        known = {image.image: image for image in await self.store.all(Image)}
        seen: dict[str, frozenset[str]] = {}
        count = 0
        for release in await self._deployed():
            image = known.get(release.image)
            moved = await self._moved(image.bases, seen) if image else {}
            if moved:
                await self._rebuild(release, moved)
                count += 1
        return count

    async def _deployed(self) -> Iterator[Release]:
        """The releases that an environment wants, where a push of their branch would enter it."""
        fed = {
            (project.slug, one.name): one.branch
            for project in await self.store.all(Project)
            for one in project.environments
        }
        releases = {one.id: one for one in await self.store.all(Release)}
        found = {
            target.release
            for target in await self.store.all(Target)
            if (release := releases.get(target.release)) is not None
            and target.deployment
            and fed.get((target.project, target.environment), "") == names.branch(release.ref)
        }
        return iter([releases[one] for one in sorted(found)])

    async def _moved(self, bases: Mapping[str, str], seen: dict[str, frozenset[str]]) -> dict[str, str]:
        """Reference → the digest that it leads to now, for those that lead elsewhere than they did."""
        moved = {}
        for reference, digest in bases.items():
            if "@" in reference:
                continue
            if reference not in seen:
                seen[reference] = await self._asked(reference)
            if seen[reference] and digest not in seen[reference]:
                moved[reference] = min(seen[reference])
        return moved

    async def _asked(self, reference: str) -> frozenset[str]:
        try:
            return await self.leads(reference)
        except EncliiError as error:
            log.warning("nobody said where %s leads: %s (%s)", reference, error, error.reason)
            return frozenset()

    async def _rebuild(self, release: Release, moved: Mapping[str, str]) -> None:
        digests = sorted(moved.values())
        delivery = Delivery(
            id=f"base-{names.token(release.project, release.service, release.sha, *digests)}", at=now(),
            forge=release.repository.split(":", 1)[0], kind="rebuild", repository=release.repository, ref=release.ref,
            after=release.sha, actor="enclii", service=release.service,
        )  # fmt: skip
        why = f"{', '.join(sorted(moved))} moved since v{release.number} was built"

        async def planned(event: Event) -> Step:
            return _said(await self.plan(event), why)

        await settle(planned, delivery, self.store)


def _said(step: Step, why: str) -> Step:
    """The step whose decision says what the run is for."""
    return Step(tuple(Change(_because(one.record, why), one.seq) for one in step.changes), step.events)


def _because(record: Record, why: str) -> Record:
    if isinstance(record, Decision) and record.about == "delivery" and record.outcome == "accepted":
        return msgspec.structs.replace(record, reason=REASON, message=why)
    return record


def asker(registries: Registries) -> Leads:
    """Asks each reference's registry, its mirrors first, with the account that there is for it."""

    async def leads(reference: str) -> frozenset[str]:
        host, _, rest = dockerfile.full_reference(reference).partition("/")
        repository, _, tag = rest.partition(":")
        *mirrors, origin = registries.places(host)
        for mirror in mirrors:
            with contextlib.suppress(EncliiError):  # its origin knows too
                async with registries.client(mirror) as registry:
                    if found := await _digests(registry, repository, tag):
                        return found
        async with registries.client(origin) as registry:
            return await _digests(registry, repository, tag)

    return leads


async def _digests(registry: Registry, repository: str, tag: str) -> frozenset[str]:
    manifest = await registry.manifest(repository, tag or "latest")
    return frozenset({manifest.digest, *held(repository, manifest).members}) if manifest else frozenset()
