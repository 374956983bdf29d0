"""``python -m tests.bench_cluster.soak HOURS``: the soak, for a part of an hour and with that part of its load."""

from __future__ import annotations

import dataclasses
import functools
import sys

from tests.bench.__main__ import main
from tests.bench_cluster.soak import FAMILY, Soak, measure


def of_hours(hours: float) -> int:
    """Measure so long; the exit code."""
    family = dataclasses.replace(FAMILY, measure=functools.partial(measure, soak=Soak(hours)))
    return main([], [family], "tests.bench_cluster.soak")


if __name__ == "__main__":
    sys.exit(of_hours(float(sys.argv[1])))
