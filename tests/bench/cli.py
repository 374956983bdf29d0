"""``cli.ps`` and ``cli.help``: the whole program from its start to its end, as a person's shell runs it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.process import SEARCH_PATH
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.story import told
from tests.support.line import API

RUNS = 15
LIMIT = 30.0
PS = Bound("cli.ps", "ms", 300)
HELP = Bound("cli.help", "ms", 150)
PROGRAM = Path(sys.executable).with_name("enclii")


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """Each command again and again, beside a Python that does nothing."""
    nothing = statistics.median(timed([sys.executable, "-c", ""], {}) for _ in range(RUNS))
    beside = {"python_that_does_nothing": round(nothing, 1)}
    found = []
    if HELP.figure in wanted:
        timed([str(PROGRAM), "--help"], {})  # the first start compiles
        found.append(median_of(HELP, [timed([str(PROGRAM), "--help"], {}) for _ in range(RUNS)], **beside))
    if PS.figure in wanted:
        with told(folder) as story:
            env = {"ENCLII_SERVER": f"http://127.0.0.1:{story.line.ports['console']}", "ENCLII_TOKEN": API}
            timed([str(PROGRAM), "ps"], env)
            found.append(median_of(PS, [timed([str(PROGRAM), "ps"], env) for _ in range(RUNS)], **beside))
    return found


def timed(argv: list[str], env: Mapping[str, str]) -> float:
    """Milliseconds of one run, which has to succeed."""
    begun = time.monotonic()
    subprocess.run(argv, env={"PATH": SEARCH_PATH, **env}, check=True, capture_output=True, timeout=LIMIT)
    return (time.monotonic() - begun) * 1000


FAMILY = Family((PS, HELP), measure)
