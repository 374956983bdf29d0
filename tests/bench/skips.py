"""``skip.push_to_commit``: a push whose build inputs are known, from the branch's move to the config commit.

Each push brings back a page that was built before, as ``git revert`` does, so nothing is built; the link that says so
is signed, verified and committed all the same.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.story import Story, told
from tests.support.line import commit, eventually, git

RUNS = 10
SKIP = Bound("skip.push_to_commit", "s", 0.5)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Two pages that are known, pushed in turn."""
    with told(folder) as story:
        known = (folder / "shop" / "index.html").read_text()
        story.deployed()
        other = (folder / "shop" / "index.html").read_text()
        took = [pushed(story, page) for _run in range(RUNS // 2) for page in (known, other)]
        jobs = story.line.api(f"/v1/builds?project=shop&limit={RUNS}")["builds"]
    assert all(job["reused"] for job in jobs), "a known page was built"
    return [median_of(SKIP, took, slowest=round(max(took), 3), mean=round(statistics.mean(took), 3))]


def pushed(story: Story, page: str) -> float:
    """Seconds from the git host's branch to the config branch, with a page that was built before."""
    begun = time.monotonic()
    story.number += 1
    (story.folder / "index.html").write_text(page)
    commit(story.folder, f"Back to {page.strip()}")
    git("push", "-q", story.line.url("shop/shop"), "main", cwd=story.folder)
    done = float(eventually(lambda: story.config.after(begun), what="the config commit"))
    story.until_runs(story.version)
    story.settled()
    return done - story.source.after(begun)


FAMILY = Family((SKIP,), measure)
