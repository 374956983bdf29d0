"""``preview.eyes``: from a comment that the receiver has taken to the 👀 on it, by a webhook as GitHub signs it."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.test_github import linked_line
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.support.github_site import Site, running_site
from tests.support.line import eventually

RUNS = 9
NUMBER = 12
EYES = Bound("preview.eyes", "s", 2.0)


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """The median of some comments, one after the other."""
    with linked_line(folder) as (line, forge, _), running_site(line, forge) as site:
        site.pushed(NUMBER, folder / "shop", action="opened")
        site.saw(site.commented(NUMBER, "/preview status"), "eyes", "rocket")  # the first one opens connections
        return [median_of(EYES, [seen(site) for _ in range(RUNS)])]


def seen(site: Site) -> float:
    """Seconds until one comment is seen."""
    comment = site.commented(NUMBER, "/preview status")
    begun = time.monotonic()
    eventually(lambda: site.reacted(comment), what="it is seen")
    took = time.monotonic() - begun
    site.saw(comment, "eyes", "rocket")
    return took


FAMILY = Family((EYES,), measure)
