"""Every process ended in order and started again, one after the other, while people push: what became of each push."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.line import COMMANDS, Line, commit, eventually, git, sample

LIMIT = 240.0
FILE = "services:\n  web:\n    port: 8080\n    health: /index.html\n"
PAGES = 2  # of each project: the first pushes are built, a later one brings a page back that was built before


@dataclass(frozen=True)
class Outcome:
    """Per pushed commit: how many releases and how many commits of the config repository it became.

    ``during``: some were still to come when the last process had been restarted.
    """

    releases: dict[str, int]
    deploys: dict[str, int]
    during: bool

    @property
    def lost(self) -> list[str]:
        """The commits without a release or without a deployment."""
        return [sha for sha, times in self.releases.items() if not times or not self.deploys[sha]]

    @property
    def doubled(self) -> list[str]:
        """The commits with two of one of them."""
        return [sha for sha, times in self.releases.items() if max(times, self.deploys[sha]) > 1]


def roll(line: Line, folder: Path, *, projects: int, pushes: int) -> Outcome:
    """Push so often to each of so many projects at the same time, and restart each process once, spread over them.

    Who pushed waits until git has the deployment: what a newer push replaced would be neither lost nor doubled. Pages
    come back, so that most pushes are planned, signed and committed, and not built.
    """
    names, begun = [f"shop-{number}" for number in range(1, projects + 1)], list[str]()
    with ThreadPoolExecutor(projects) as people:
        pushing = [people.submit(_pushes, line, folder / name, name, pushes, begun) for name in names]
        for number, process in enumerate(COMMANDS):
            some = number * projects * pushes // len(COMMANDS)
            eventually(lambda some=some: len(begun) > some, limit=LIMIT, what=f"push {some} is begun")
            _restart(line, process)
        during = not all(one.done() for one in pushing)
        pushed = [one.result() for one in pushing]
    for name in names:
        eventually(lambda name=name: _status(line, name) == "running", limit=LIMIT, what=f"{name} runs")
        said = eventually(lambda name=name: line.page(f"web.{name}.localhost"), limit=LIMIT, what=f"{name} answers")
        assert said == _page(pushes), f"{name} shows {said!r}; the door ended with {line.ended('door')}"
    git("clone", "-q", line.url("enclii/config"), "config", cwd=folder)
    committed = Counter(git("log", "--format=%(trailers:key=Enclii-Commit,valueonly)", cwd=folder / "config").split())
    released = Counter(one["git_sha"] for name in names for one in _releases(line, name, pushes))
    shas = [sha for some in pushed for sha in some]
    return Outcome({sha: released[sha] for sha in shas}, {sha: committed[sha] for sha in shas}, during)


def _restart(line: Line, name: str) -> None:
    """In the thread that everything ends with: a process ends with the thread that started it."""
    line.signal(name, signal.SIGTERM)
    eventually(lambda: line.ended(name) is not None, what=f"{name} ends")
    line.start(name)
    eventually(lambda: line.ops(name, "/readyz")[0] == 200, what=f"{name} is ready")


def _pushes(line: Line, folder: Path, project: str, pushes: int, begun: list[str]) -> list[str]:
    sample(folder, "page\n")
    (folder / "enclii.yaml").write_text(FILE)
    shas = []
    for number in range(1, pushes + 1):
        (folder / "index.html").write_text(_page(number))
        shas.append(commit(folder, f"Push {number} of {project}"))  # no two projects' commits are the same
        begun.append(shas[-1])
        what = f"push {number} of {project}"
        eventually(lambda: _pushed(line, folder, project), limit=LIMIT, what=f"{what} is taken")
        eventually(lambda sha=shas[-1]: _deployed(line, project, sha), limit=LIMIT, what=f"{what} is in git")
    return shas


def _page(number: int) -> str:
    return f"page {number % PAGES}\n"


def _pushed(line: Line, folder: Path, project: str) -> bool:
    """As people do: what is refused while the git host restarts is pushed again."""
    argv = ("git", "push", line.url(f"{project}/shop"), "main")
    return subprocess.run(argv, cwd=folder, capture_output=True, check=False, timeout=120).returncode == 0


def _deployed(line: Line, project: str, sha: str) -> bool:
    found = line.api(f"/v1/services/{project}.web/deployments/latest")
    return bool(found["sha"] == sha and found["config_commit"])


def _status(line: Line, project: str) -> str:
    return str(line.api(f"/v1/services/{project}.web/deployments/latest")["status"])


def _releases(line: Line, project: str, pushes: int) -> list[dict[str, Any]]:
    return list(line.api(f"/v1/services/{project}.web/releases?limit={2 * pushes}")["releases"])
