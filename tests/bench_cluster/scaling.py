"""``platform.scaling``: builds a second by four builder processes beside each other, over those by one.

Each build is one by buildah, from its event to its image in the registry, whose only step waits for a fixed time; what
else it costs, the SBOM above all, is bound by the processors that the builders share here. A build that was done twice
leaves no figure.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.figures import Bound, Family, Figure
from tests.support.components import needs
from tests.support.line import COMMANDS, Line, commit, eventually, git
from tests.support.nats import AUTHORIZED, running_nats
from tests.support.registry import running_registry
from tests.support.waiting_builds import built, services

SCALING = Bound("platform.scaling", "ratio", 3.5, better="higher")
WAITING = 60
"""Seconds that the one step of each build waits."""
EACH = 2
"""Builds for each builder."""
BUILDERS = 4
IDLE = ("syncer", "door")
"""Left out: what is built here is not started, for containers would take the processors that builds need."""
LIMIT = 600.0


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """One builder alone, then four; the same builds, as many for each."""
    needs("buildah", "busybox", "docker-registry", "nats-server", "git", "syft")
    home = folder / "home"
    with _running(home) as line:
        alone = _round(line, folder / "alone", EACH)
        names = ["builder", *(line.start_beside("builder", number) for number in range(2, BUILDERS + 1))]
        for name in names:
            eventually(lambda name=name: "Dockerfiles are built by" in line.log(name), what=f"{name} is up")
        beside = _round(line, folder / "beside", EACH * BUILDERS)
        shares = [built(line.log(name)) for name in names]
    twice = [job for job, times in (sum(shares, Counter())).items() if times > 1]
    if twice:
        raise AssertionError(f"built twice: {twice}")
    detail = {
        "jobs_per_second": [round(_rate(one), 4) for one in (alone, beside)], "waiting": WAITING,
        "build_seconds": [round(_middle(one), 1) for one in (alone, beside)],
        "builds_of_each": [sum(share.values()) for share in shares],
    }  # fmt: skip
    return [Figure(SCALING, _rate(beside) / _rate(alone), len(beside), detail)]


FAMILY = Family((SCALING,), measure)


@contextmanager
def _running(home: Path) -> Iterator[Line]:
    with (
        running_nats(home / "nats", extra=AUTHORIZED) as nats,
        running_registry(home / "registry") as registry,
    ):
        line = Line(home, nats, registry)
        try:
            line.start(*(name for name in COMMANDS if name not in IDLE))
            eventually(lambda: line.listens("githost", "receiver", "console"), what="the processes listen")
            yield line
        finally:
            line.end()


def _round(line: Line, folder: Path, count: int) -> list[tuple[float, float]]:
    """Push so many services at once; when each build began and ended."""
    services(folder, count, seconds=WAITING)
    sha = commit(folder, "Builds that wait")
    git("push", line.url(f"{folder.name}/{folder.name}"), "main", cwd=folder)
    return eventually(lambda: _built(line, sha, count), limit=LIMIT, what="all are built")  # type: ignore[no-any-return]


def _built(line: Line, sha: str, count: int) -> Sequence[tuple[float, float]]:
    runs = [run for run in line.api("/v1/runs?limit=50")["runs"] if run["sha"] == sha]
    jobs = line.api(f"/v1/runs/{runs[0]['id']}")["jobs"] if runs else []
    stages = [stage for job in jobs for stage in job["stages"] if stage["name"] == "build" and stage["finished_at"]]
    return [_moments(stage) for stage in stages] if len(stages) == count else ()


def _moments(stage: dict[str, Any]) -> tuple[float, float]:
    began, ended = (datetime.fromisoformat(stage[key]).timestamp() for key in ("started_at", "finished_at"))
    return began, ended


def _rate(builds: Sequence[tuple[float, float]]) -> float:
    """Builds a second, from the first one's beginning to the last one's end."""
    return len(builds) / (max(ended for _, ended in builds) - min(began for began, _ in builds))


def _middle(builds: Sequence[tuple[float, float]]) -> float:
    """The seconds that a build takes."""
    return statistics.median(ended - began for began, ended in builds)
