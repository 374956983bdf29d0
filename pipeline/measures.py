"""What a process counts and times while it works, kept small: the library that prints it is loaded for who reads it.

Names are Prometheus' (``enclii_…``, base units, ``_total`` for counts) with the words of the rest of the program. A
measured time may carry the trace that it was measured in, so that a slow one leads to its story.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Labels = tuple[str, ...]
BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 1800.0)
"""Seconds: from one commit to the longest build, with the promised limits (30 s, 8 min) among them."""


@dataclass(frozen=True)
class Exemplar:
    """One measured value with the trace that it belongs to."""

    trace: str
    value: float
    at: float


@dataclass
class Counter:
    """How often, by labels."""

    name: str
    meaning: str
    labels: Labels
    values: dict[Labels, float] = field(default_factory=dict)

    def expect(self, *labels: str) -> None:
        """Begin at nought: what appears as 1 did not rise for Prometheus, and the first one would go unheard."""
        self.values.setdefault(labels, 0.0)

    def add(self, *labels: str, by: float = 1.0) -> None:
        """One more."""
        self.values[labels] = self.values.get(labels, 0.0) + by


@dataclass
class Series:
    """One histogram's numbers: a count for each bucket and beyond, and the newest exemplar of each."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    sum: float = 0.0
    exemplars: dict[int, Exemplar] = field(default_factory=dict)


@dataclass
class Histogram:
    """How long, in seconds, by labels."""

    name: str
    meaning: str
    labels: Labels
    values: dict[Labels, Series] = field(default_factory=dict)

    def expect(self, *labels: str) -> None:
        """Begin at nought, as a counter does."""
        self.values.setdefault(labels, Series())

    def observe(self, *labels: str, seconds: float, trace: str = "") -> None:
        """One more; ``trace`` is the id of the trace that it was seen in."""
        series = self.values.setdefault(labels, Series())
        place = bisect_left(BUCKETS, seconds)
        series.counts[place] += 1
        series.sum += seconds
        if trace:
            series.exemplars[place] = Exemplar(trace, seconds, time.time())


@dataclass(frozen=True)
class Gauge:
    """What is so now: read when somebody asks."""

    name: str
    meaning: str
    labels: Labels
    values: Mapping[Labels, float]


Source = Callable[[], Awaitable[Sequence[Gauge]]]
"""Reads gauges for one answer; one that fails is left out of it."""

Kept = Counter | Histogram
Ended = Literal["done", "retried", "parked"]

EVENTS: Final = Histogram(
    "enclii_event_seconds", "Handling of one event by a stage, from its turn to its end", ("stage", "type", "outcome")
)
FAILURES: Final = Counter(
    "enclii_event_failures_total", "Tries of an event that failed, by the reason code", ("stage", "reason")
)
DELIVERIES: Final = Counter(
    "enclii_deliveries_total",
    "Deliveries that were planned, by where they came from; sweep: the safety net found what no webhook told",
    ("forge", "kind"),
)
ROLLOUTS: Final = Histogram(
    "enclii_rollout_seconds", "From the config commit to running and healthy, by what asked for it", ("via",)
)
REQUESTS: Final = Counter(
    "enclii_requests_total", "Requests answered, by who asked and the status's class", ("client", "code")
)
_KEPT: Final[list[Kept]] = [EVENTS, FAILURES, DELIVERIES, ROLLOUTS, REQUESTS]


def kept() -> Iterable[Kept]:
    """Everything that this process has counted or timed."""
    return [one for one in _KEPT if one.values]
