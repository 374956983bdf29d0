"""``rollback.to_push`` and ``rollback.to_live``: from the command to the pushed revert, and to the old digest healthy.

The clock starts when the program ``enclii rollback`` does. Live means that the API shows the old release as running
and healthy and the front door answers with its page. How long it takes from a request to the API, which a page or a
script makes, is told beside, from rounds of its own.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.process import SEARCH_PATH
from tests.bench.cli import PROGRAM
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.story import HOST, PLACE, Story, told
from tests.support.line import API

RUNS, BESIDE = 5, 3
LIMIT = 60.0
ASK = 0.02
TO_PUSH = Bound("rollback.to_push", "s", 0.3)
TO_LIVE = Bound("rollback.to_live", "s", 3.0)

Asking = Callable[[Story], contextlib.AbstractContextManager[None]]
"""Asks for the rollback; what it needs to end is done when the block is left."""


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Deploy, roll back, lift the hold; again."""
    with told(folder) as story:
        by_command = [measured(story, commanded) for _run in range(RUNS)]
        by_request = [measured(story, requested) for _run in range(BESIDE)]
    pushes, lives = zip(*by_command, strict=True)
    beside = [round(statistics.median(values), 3) for values in zip(*by_request, strict=True)]
    return [
        median_of(TO_PUSH, pushes, from_the_request=beside[0]),
        median_of(TO_LIVE, lives, from_the_request=beside[1]),
    ]


def measured(story: Story, asking: Asking) -> tuple[float, float]:
    """Seconds to the pushed revert and to the old release's life, in one round."""
    before = story.version
    page = f"page {story.number}\n"
    story.deployed()
    story.settled()
    asked = time.monotonic()
    with asking(story):
        live = until_live(story, before, page) - asked
    pushed = story.config.after(asked) - asked
    story.resume()
    story.deployed()
    story.settled()
    return pushed, live


@contextlib.contextmanager
def commanded(story: Story) -> Iterator[None]:
    """As a person does it: the whole program, which waits until the old release is live."""
    server = f"http://127.0.0.1:{story.line.ports['console']}"
    words = [word for name, value in PLACE.items() for word in (f"--{name}", value)]
    program = subprocess.Popen(
        [str(PROGRAM), "rollback", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"PATH": SEARCH_PATH, "ENCLII_SERVER": server, "ENCLII_TOKEN": API},
    )  # fmt: skip
    try:
        yield
        if program.wait(LIMIT) != 0:
            raise RuntimeError("enclii rollback failed")
    finally:
        program.kill()
        program.wait()


@contextlib.contextmanager
def requested(story: Story) -> Iterator[None]:
    """As a page or a script does it."""
    story.rollback()
    yield


def until_live(story: Story, version: str, page: str) -> float:
    """When the release was seen live; asked every 20 ms."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if story.runs(version) and story.line.page(HOST, "/index.html") == page:
            return time.monotonic()
        time.sleep(ASK)  # the page tells nobody that it changed
    raise TimeoutError(f"{version} was not live within {LIMIT:g} s")


FAMILY = Family((TO_PUSH, TO_LIVE), measure)
