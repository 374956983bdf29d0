"""``platform.upgrade_lost``: every process is ended and started again, one after the other, during 50 pushes.

Lost is a push without a release or without a commit in the config repository, doubled one with two of either. 25
pushes to each of two projects at the same time: who pushed waits for the commit before pushing again.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.figures import Bound, Family, Figure
from tests.support.line import running_line
from tests.support.rolling import roll

LOST = Bound("platform.upgrade_lost", "count", 0)
PROJECTS, PUSHES = 2, 25


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Restart while somebody pushes."""
    with running_line(folder / "home") as line:
        found = roll(line, folder, projects=PROJECTS, pushes=PUSHES)
    detail = {"lost": found.lost, "doubled": found.doubled, "during": found.during}
    return [Figure(LOST, len(found.lost) + len(found.doubled), len(found.releases), detail)]


FAMILY = Family((LOST,), measure)
