"""What a measurement is: one value with its bound, printed as one line of JSON.

A figure that could not be measured has no value, says why, and counts as missed.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Bound:
    """What a figure has to reach."""

    figure: str
    unit: str
    to_reach: float
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True)
class Figure:
    """One measured figure; ``value`` is None when it could not be measured, and ``detail`` says why."""

    bound: Bound
    value: float | None
    n: int = 0
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def missed(self) -> bool:
        """True when the value is on the wrong side of its bound, or missing."""
        if self.value is None:
            return True
        return self.value > self.bound.to_reach if self.bound.better == "lower" else self.value < self.bound.to_reach

    def line(self) -> str:
        """The figure as one line of JSON."""
        bound = self.bound
        value = None if self.value is None else round(self.value, 3)
        return json.dumps(
            {
                "figure": bound.figure, "value": value, "unit": bound.unit, "to_reach": bound.to_reach,
                "better": bound.better, "n": self.n, "detail": self.detail,
            }
        )  # fmt: skip


@dataclass(frozen=True)
class Family:
    """Figures that one set-up measures: ``measure`` gets an empty folder and the names that are wanted."""

    bounds: tuple[Bound, ...]
    measure: Callable[[Path, frozenset[str]], list[Figure]]


def unmeasured(bound: Bound, why: str) -> Figure:
    """The figure without a value."""
    return Figure(bound, None, detail={"unmeasured": why})


def median_of(bound: Bound, values: Sequence[float], **detail: Any) -> Figure:
    """The median of ``values``, with all of them and whatever else is to be told."""
    if not values:
        return unmeasured(bound, "no run gave a value")
    runs = [round(value, 3) for value in values]
    return Figure(bound, statistics.median(values), len(values), {"runs": runs, **detail})
