"""The installation as a whole in figures: queues, parked events, drift, holds, residue, durability and expiries.

Each console says the same, so rules take the maximum and not the sum.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from console import expiries
from console.projection import Projection
from pipeline import durability
from pipeline.bus import Bus
from pipeline.measures import Gauge, Labels, Source
from pipeline.queues import Queue, queues
from pipeline.records import BuilderState, Live, Parked, Target

_STAGE: Final = ("stage",)
_PLACE: Final = ("project", "environment", "service")


def sources(db: Projection, bus: Bus, *, monitors: str, endpoints: Sequence[expiries.Endpoint]) -> list[Source]:
    """What the console's ``/metrics`` says besides what every process does."""

    async def waiting() -> Sequence[Gauge]:
        return _queues(await queues(bus), datetime.datetime.now(datetime.UTC))

    async def stored() -> Sequence[Gauge]:
        return list(_stored(db))

    async def synced() -> Sequence[Gauge]:
        values = {(one.server,): float(one.always) for one in await durability.nats_syncs(monitors)}
        meaning = "Whether the NATS server syncs before it acknowledges; 1: yes"
        return [_gauge("enclii_fsync", meaning, ("server",), values)]

    return [waiting, stored, synced, expiries.Expiries(endpoints).gauges]


def _gauge(name: str, meaning: str, labels: Labels, values: Mapping[Any, float]) -> Gauge:
    return Gauge(name, meaning, labels, dict(values))


def _queues(found: Sequence[Queue], now: datetime.datetime) -> list[Gauge]:
    def each(value: Callable[[Queue], float]) -> dict[Labels, float]:
        return {(one.stage,): float(value(one)) for one in found}

    oldest = "Age of the oldest event that a stage has not finished"
    return [
        _gauge("enclii_queue_waiting", "Events that a stage has not begun", _STAGE, each(lambda one: one.waiting)),
        _gauge("enclii_queue_in_hand", "Events that a stage works on", _STAGE, each(lambda one: one.in_hand)),
        _gauge("enclii_queue_oldest_seconds", oldest, _STAGE, each(lambda one: one.age(now))),
    ]


def _stored(db: Projection) -> Iterable[Gauge]:
    parked = Counter((one.consumer,) for one in db.find(Parked) if one.state == "parked")
    yield _gauge("enclii_parked_events", "Events that wait for a person", _STAGE, parked)
    lives, targets = db.find(Live), {one.key: one for one in db.find(Target)}
    drifted = {(one.project, one.environment, one.service): float(len(one.drift)) for one in lives if one.drift}
    yield _gauge("enclii_drift", "Ways in which the cluster differs from git, by service", _PLACE, drifted)
    left = [one for one in lives if one.replicas and not (one.key in targets and targets[one.key].deployment)]
    yield Gauge("enclii_residue", "Services that run although git has none of them", (), {(): float(len(left))})
    holds = sum(one.held for one in targets.values())
    yield Gauge("enclii_holds", "Services that are held", (), {(): float(holds)})
    status = Counter((one.status,) for one in lives if one.deployment)
    yield _gauge("enclii_services", "Services by what was observed of them", ("status",), status)
    builders = float(len(db.find(BuilderState)))
    yield Gauge("enclii_builders", "Builder processes that said what they build with", (), {(): builders})
