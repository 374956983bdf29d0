"""Which images the records need, and how old everything in the registry is. Pure.

What one record alone names is enough to keep an image: a target, what was observed to run, a hold, the last
deployments of an environment, a promotion on its way, a job on its way.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline import promotions
from pipeline.errors import Invalid
from pipeline.images import ImageRef
from pipeline.jobs import OPEN
from pipeline.records import Deployment, Image, Job, Live, Promotion, Release, Run, Target
from pipeline.retention import CACHE, Key, Needs

UNSETTLED = frozenset({"pending", "progressing", "running", "degraded", "held"})


@dataclass(frozen=True)
class Records:
    """Everything that names an image, as it was read together."""

    targets: Sequence[Target] = ()
    lives: Sequence[Live] = ()
    deployments: Sequence[Deployment] = ()
    releases: Sequence[Release] = ()
    promotions: Sequence[Promotion] = ()
    images: Sequence[Image] = ()
    runs: Sequence[Run] = ()
    jobs: Sequence[Job] = ()
    previews: frozenset[tuple[str, str]] = frozenset()
    """Project and environment of each preview that is there."""


def needs(records: Records, *, releases: int, now: datetime.datetime) -> Needs:
    """What is needed when each service keeps the last ``releases`` that were deployed to each of its environments."""
    found: dict[Key, str] = {}
    for image, why in _named(records, releases):
        if (key := key_of(image)) is not None:
            found.setdefault(key, why)
    going = frozenset(job.run for job in records.jobs if job.status in OPEN)
    return Needs(found, going, _ages(records, now), records.previews)


def key_of(image: str) -> Key | None:
    """Repository and digest, whatever the registry was called then; None for what is no image by digest."""
    try:
        found = ImageRef.parse(image)
    except Invalid:
        return None
    return (found.repository, found.digest)


def _named(records: Records, releases: int) -> Iterator[tuple[str, str]]:
    """(image, why), the reason that matters most first."""
    by_id = {one.id: one.image for one in records.releases}
    for target in records.targets:
        yield target.image, f"wanted in {target.project}/{target.environment}"
    for live in records.lives:
        for image in _running(live):
            yield image, f"runs in {live.project}/{live.environment}"
    for target in records.targets:
        for release in (target.held_release, target.hold_from, target.release):
            if release in by_id:
                yield by_id[release], f"held in {target.project}/{target.environment}"
    yield from _on_their_way(records, by_id)
    yield from _deployed(records.deployments, releases)
    yield from ((one.image, "newest release") for one in _newest(records.releases))


def _running(live: Live) -> Iterator[str]:
    yield live.image
    name = live.image.partition("@")[0]
    yield from (f"{name}@{replica.digest}" for replica in live.replicas if replica.digest)


def _on_their_way(records: Records, by_id: dict[str, str]) -> Iterator[tuple[str, str]]:
    for promotion in records.promotions:
        if promotion.status in promotions.OPEN:
            for member in promotion.members:
                yield member.image, f"promotion to {promotion.environment}"
                yield by_id.get(member.release, ""), f"promotion to {promotion.environment}"
    yield from ((job.image, f"{job.run} is on its way") for job in records.jobs if job.status in OPEN)
    for one in records.deployments:
        if one.status in UNSETTLED:
            yield one.image, f"{one.status} in {one.project}/{one.environment}"


def _deployed(deployments: Sequence[Deployment], releases: int) -> Iterator[tuple[str, str]]:
    """The last images of each environment, and the last that ran there, which a rollback goes back to."""
    places: dict[tuple[str, str, str], list[Deployment]] = defaultdict(list)
    for one in sorted(deployments, key=lambda one: (one.created_at, one.id), reverse=True):
        if one.config_commit:
            places[one.project, one.environment, one.service].append(one)
    for (project, environment, _), of_place in places.items():
        last = list(dict.fromkeys(one.image for one in of_place))[:releases]
        last += [one.image for one in of_place if one.running_at][:2]
        yield from ((image, f"among the last of {project}/{environment}") for image in last)


def _newest(releases: Sequence[Release]) -> list[Release]:
    newest: dict[tuple[str, str], Release] = {}
    for one in sorted((one for one in releases if one.preview is None), key=lambda one: one.number):
        newest[one.project, one.service] = one
    return list(newest.values())


def _ages(records: Records, now: datetime.datetime) -> dict[Key, float]:
    """Seconds since each was last used; the youngest word counts."""
    found: dict[Key, float] = {}

    def note(key: Key | None, at: str) -> None:
        if key is not None and (old := age(at, now)) is not None:
            found[key] = min(found.get(key, old), old)

    for image in records.images:
        note(key_of(image.image), image.built_at)
    for release in records.releases:
        note(key_of(release.image), release.created_at)
    started = {run.id: run.created_at for run in records.runs}
    for job in records.jobs:
        at = job.finished_at or job.created_at or started.get(job.run, "")
        repository = f"{job.project}/{job.service}"
        for key in (key_of(job.image), (repository, job.run), (repository + CACHE, "")):
            note(key, at)
    return found


def age(at: str, now: datetime.datetime) -> float | None:
    """Seconds since ``at`` (RFC 3339); None for what is no time."""
    try:
        return (now - datetime.datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return None
