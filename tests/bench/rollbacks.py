"""``rollback.to_push`` and ``rollback.to_live``: from the command to the pushed revert, and to the old digest healthy.

The command is a request to the API, as the command line makes it; live means that the API shows the old release as
running and healthy and the front door answers with its page.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.story import HOST, Story, told

RUNS = 3
LIMIT = 60.0
ASK = 0.02
TO_PUSH = Bound("rollback.to_push", "s", 0.3)
TO_LIVE = Bound("rollback.to_live", "s", 3.0)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Deploy, roll back, lift the hold; again."""
    pushes, lives = [], []
    with told(folder) as story:
        for _run in range(RUNS):
            before = story.version
            page = f"page {story.number}\n"
            story.deployed()
            asked = time.monotonic()
            story.rollback()
            lives.append(until_live(story, before, page) - asked)
            pushes.append(story.config.after(asked) - asked)
            story.resume()
            story.deployed()
    return [median_of(TO_PUSH, pushes), median_of(TO_LIVE, lives)]


def until_live(story: Story, version: str, page: str) -> float:
    """When the release was seen live; asked every 20 ms."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if story.runs(version) and story.line.page(HOST, "/index.html") == page:
            return time.monotonic()
        time.sleep(ASK)
    raise TimeoutError(f"{version} was not live within {LIMIT:g} s")


FAMILY = Family((TO_PUSH, TO_LIVE), measure)
