"""``overhead.push_to_commit``: what Enclii adds to a build, a push and an SBOM that are made by hand.

Each run pushes a page through the line, then makes the same image by hand with the same buildah and syft commands,
in a store of its own that has built before. By hand nothing is signed, verified, stored or committed.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import sbom
from pipeline.builders import buildah_commands as commands
from pipeline.builders import buildah_host
from pipeline.builders.buildah_host import HostFacts
from pipeline.process import SEARCH_PATH
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.bench.story import Story, told
from tests.support.line import eventually

RUNS = 5
OVERHEAD = Bound("overhead.push_to_commit", "s", 0.7)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Pushes and builds by hand, in turn."""
    with told(folder) as story:
        hand = ByHand(folder / "hand", story)
        hand.made()
        ours, theirs = [], []
        for _run in range(RUNS):
            ours.append(pushed(story))
            theirs.append(hand.made())
    steps = {name: round(statistics.median(one[name] for one in theirs), 3) for name in theirs[0]}
    peer = [sum(one.values()) for one in theirs]
    over = [mine - by_hand for mine, by_hand in zip(ours, peer, strict=True)]
    whole = {"push_to_commit": round(statistics.median(ours), 3), "by_hand": round(statistics.median(peer), 3)}
    return [median_of(OVERHEAD, over, **whole, by_hand_steps=steps)]


def pushed(story: Story) -> float:
    """Seconds from the moment the git host's branch moved to the moment the config branch did."""
    begun = time.monotonic()
    story.push()
    done = float(eventually(lambda: story.config.after(begun), what="the config commit"))
    story.until_runs(story.version)
    story.settled()
    return done - story.source.after(begun)


class ByHand:
    """The same image from the same folder, without Enclii."""

    def __init__(self, room: Path, story: Story) -> None:
        self._story = story
        self._room = room
        self._host: HostFacts = asyncio.run(buildah_host.detect(room))

    def made(self) -> Mapping[str, float]:
        """Seconds of each step."""
        host, registry = self._host, self._story.line.registry
        host.prepare()
        iid, digest = self._room / "iid", self._room / "digest"
        context = self._room / "context"
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(self._story.folder, context, ignore=shutil.ignore_patterns(".git"))
        (context / "index.html").write_text(f"by hand {time.time_ns()}\n")
        build = commands.build_command(
            host.store, host.sandbox, context=context, dockerfile=context / "Dockerfile", target="", arguments={},
            timestamp=int(time.time()), iidfile=iid, processes=1024,
        )  # fmt: skip
        took = {"build": timed(build, host.environment)}
        repository = f"{registry}/hand/web"
        push = commands.push_command(
            host.store, iid.read_text().strip(), f"{repository}:latest", digestfile=digest, plain_http=True
        )
        took["push"] = timed(push, host.environment)
        scan = sbom.syft_command(
            sbom.find_syft(), f"{repository}@{digest.read_text().strip()}", host.scratch / "bom.json"
        )
        took["syft"] = timed(scan, sbom.syft_environment(host.scratch, plain_http=True))
        return took


def timed(argv: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds of one command, which has to succeed."""
    begun = time.monotonic()
    path = {"PATH": SEARCH_PATH}
    subprocess.run(argv, env={**path, **environment}, check=True, capture_output=True, timeout=120)
    return time.monotonic() - begun


FAMILY = Family((OVERHEAD,), measure)
