"""``preview.to_answer``, ``preview.sweep``, ``preview.residue``: until it answers, what a sweep costs, what stays.

To the answer counts what the build does not take. The sweep is that of a hundred open previews of which nothing has
changed, with the safety net's look at their repository on the forge. What stays is counted after a hundred came
and went while processes were killed.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

from gitops.forge.forges import Forges
from gitops.forge.github import GitHub as Client
from gitops.forge.safety import SafetyNet
from pipeline.preview_life import Limits, due
from pipeline.previews import Preview
from pipeline.records import Repository
from pipeline.registry import Registry
from pipeline.stages.plan import Planner
from pipeline.stages.preview import Previews
from pipeline.stages.preview_plan import PreviewPlanner
from pipeline.stages.preview_watch import Watcher
from pipeline.store import now
from tests.acceptance.test_preview import cloned, left, page, previews
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.support.forge_room import HEAD, ORIGIN, Room, in_room
from tests.support.line import Line, commit, eventually, git, running_line, sample

RUNS = 3
OPEN = 100
REQUESTS = 10
CYCLES = 100
KILLED = ("planner", "committer", "syncer", "signer", "builder")
HOST = "new-web.preview.localhost"
TO_ANSWER = Bound("preview.to_answer", "s", 5.0)
SWEEP = Bound("preview.sweep", "s", 5.0)
RESIDUE = Bound("preview.residue", "count", 0.0)


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """Each figure that is wanted."""
    found: list[Figure] = []
    if SWEEP.figure in wanted:
        found.append(swept(folder / "sweep"))
    if wanted & {TO_ANSWER.figure, RESIDUE.figure}:
        with running_line(folder / "home") as line:
            sample(folder / "shop", "main\n")
            git("push", "-q", line.url("shop/shop"), "main", cwd=folder / "shop")
            eventually(lambda: line.api("/v1/projects/shop/services")["services"], what="the project is known")
            if TO_ANSWER.figure in wanted:
                found.append(median_of(TO_ANSWER, [answered(line, folder / "shop", run) for run in range(RUNS)]))
            if RESIDUE.figure in wanted:
                found.append(residue(line, folder / "shop"))
    return found


def swept(folder: Path) -> Figure:
    """One sweep over previews that need nothing, and one look at their pull requests; each request is counted."""
    folder.mkdir()
    taken: list[Figure] = []

    async def scenario(room: Room) -> None:
        for number in range(1, OPEN + 1):
            room.github.pull(number, HEAD)
        await room.write(*_open())
        net = SafetyNet(room.store, Forges(room.store, room.folder, {"github": Client}))
        await net.look()  # what this finds is new to it; the next one finds that nothing changed
        stage = Previews(room.store, PreviewPlanner(Planner(room.store, _registry(), _nowhere)), Limits())
        before, begun = len(room.github.requests), time.perf_counter()
        changed = await Watcher(stage, _nothing, 900.0).sweep()
        missed = await net.look()
        seconds, asked = time.perf_counter() - begun, len(room.github.requests) - before
        detail = {"api_requests": asked, "at_most": REQUESTS, "changed": changed, "missed": len(missed)}
        right = asked <= REQUESTS and not changed and not missed
        taken.append(Figure(SWEEP, seconds if right else None, OPEN, detail))

    in_room(folder, scenario)
    return taken[0]


def _registry() -> Registry:
    return Registry("registry.example", plain_http=True)


def _open() -> list[Preview]:
    at = now()
    return [
        Preview(
            id=f"shop.preview-{number}", project="shop", repository=ORIGIN, number=number, state="building",
            environment=f"preview-{number}", active_at=at, idle=259_200.0, expires_at=due(at, 259_200.0),
        )
        for number in range(1, OPEN + 1)
    ]  # fmt: skip


async def _nothing(_: Preview) -> int:
    return 0


async def _nowhere(_: Repository) -> Any:
    raise LookupError("a sweep reads no sources")


def answered(line: Line, folder: Path, run: int) -> float:
    """From the wish to the answer, without what the builder takes."""
    text = f"page {run} {time.time()}\n"
    _pushed(folder, line, text)
    begun = time.monotonic()
    _ask(line, "up")
    while _page(line) != text:
        time.sleep(0.02)  # a page is asked, as a person would: it tells nobody that it changed
    took = time.monotonic() - begun
    building = _built(line, str(previews(line)[0]["run"]))
    _ended(line)
    return took - building


def residue(line: Line, folder: Path) -> Figure:
    """What is left of previews that came and went, some while a process died."""
    environment = "preview-new"
    for cycle in range(CYCLES):
        _pushed(folder, line, f"cycle {cycle}\n")
        _ask(line, "up")
        if cycle % 5 == 0:
            _killed(line, KILLED[cycle // 5 % len(KILLED)])
        if cycle % 2:
            eventually(lambda: _page(line) == f"cycle {cycle}\n", what="it answers")  # noqa: B023 - asked at once
        _ended(line)
    tree = cloned(folder.parent, line)
    there = [*left(line, environment), *map(str, tree.glob(f"shop/{environment}/**/*"))]
    return Figure(RESIDUE, float(len(there)), CYCLES, {"left": there})


def _pushed(folder: Path, line: Line, text: str) -> None:
    (folder / "index.html").write_text(text)
    commit(folder, text.strip())
    git("push", "-q", "-f", line.url("shop/shop"), "HEAD:new", cwd=folder)


def _ask(line: Line, verb: str) -> None:
    line.api("/v1/previews", {"project": "shop", "verb": verb, "branch": "new"})


def _ended(line: Line) -> None:
    eventually(lambda: previews(line), what="it is known")
    _ask(line, "down")
    eventually(lambda: previews(line) == [], limit=120, what="it is removed")


def _killed(line: Line, process: str) -> None:
    line.kill(process)
    line.start(process)


def _page(line: Line) -> str:
    try:
        return page(line, HOST)
    except OSError:
        return ""


def _built(line: Line, run: str) -> float:
    """Seconds that the build took, by the job's own stages."""
    (job,) = line.api(f"/v1/runs/{run}")["jobs"]
    (stage,) = [one for one in job["stages"] if one["name"] == "build"]
    began, ended = (datetime.datetime.fromisoformat(stage[key]) for key in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


FAMILY = Family((TO_ANSWER, SWEEP, RESIDUE), measure)
