"""``python -m tests.bench [FIGURE]``: measure, one line of JSON for each figure; exit code 1 when one was missed.

``FIGURE`` is a figure's name or the start of one (``rollback``).
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench import (
    api,
    builders,
    cli,
    committer,
    eyes,
    logs,
    memory,
    previews,
    pushes,
    requests,
    rollbacks,
    signing,
    skips,
)
from tests.bench.figures import Family, Figure, unmeasured

FAMILIES = (
    pushes.FAMILY, skips.FAMILY, builders.FAMILY, signing.FAMILY, logs.FAMILY, rollbacks.FAMILY, requests.FAMILY,
    committer.FAMILY, api.FAMILY, memory.FAMILY, cli.FAMILY, previews.FAMILY, eyes.FAMILY,
)  # fmt: skip
ABSENT = (pytest.skip.Exception, pytest.fail.Exception)
"""How a missing component is told; neither is an Exception."""


def main(argv: list[str], families: Sequence[Family] = FAMILIES, program: str = "tests.bench") -> int:
    """Measure what was asked for. 0: all reached, 1: something missed, 2: no such figure."""
    prefix = argv[0] if argv else ""
    names = [bound.figure for family in families for bound in family.bounds]
    wanted = frozenset(name for name in names if name.startswith(prefix))
    if not wanted or len(argv) > 1:
        sys.stderr.write(f"usage: python -m {program} [FIGURE]; figures: {', '.join(names)}\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # containers are removed on the way out
    missed = 0
    for family in families:
        for figure in measured(family, wanted):
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()
            missed += figure.missed
    return 1 if missed else 0


def measured(family: Family, wanted: frozenset[str]) -> list[Figure]:
    """The wanted figures of one family, each with a value or with the reason why it has none."""
    asked = [bound for bound in family.bounds if bound.figure in wanted]
    if not asked:
        return []
    try:
        with tempfile.TemporaryDirectory(prefix="enclii-bench-") as folder:
            found = {
                figure.bound.figure: figure
                for figure in family.measure(Path(folder), frozenset(b.figure for b in asked))
            }
    except (Exception, *ABSENT) as error:
        return [unmeasured(bound, f"{type(error).__name__}: {error}") for bound in asked]
    return [found.get(bound.figure) or unmeasured(bound, "the run gave no value") for bound in asked]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
