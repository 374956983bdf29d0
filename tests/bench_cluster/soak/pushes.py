"""The pushes: a few repositories with a page each, pushed in turn; which of them git said yes to, and when."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console import installation
from console.installation import Addresses
from tests.bench_cluster.soak.pace import paced
from tests.support.line import commit, sample

REPOSITORIES: Final = 8
PATIENCE: Final = 180.0
"""Seconds in which somebody repeats a push that was refused."""
AGAIN: Final = 1.0
GIT_LIMIT: Final = 120
SERVICE = "services:\n  web:\n    port: 8080\n    health: /index.html\n"
# Process 1 hears only what it asked for: without the trap each stop would take its whole grace.
TRAPPED = 'CMD ["/bin/busybox", "sh", "-c", "trap exit TERM; /bin/busybox httpd -f -p 8080 -h /www & wait"]\n'


@dataclass(frozen=True)
class Pushed:
    """A push that git said yes to."""

    project: str
    sha: str
    page: str
    at: float
    tries: int


class Pushes:
    """A deployer with several repositories of one service each."""

    def __init__(self, at: Addresses, folder: Path) -> None:
        self.projects = tuple(f"soak-{number}" for number in range(REPOSITORIES))
        self.accepted: list[Pushed] = []
        self.refused: list[str] = []
        self._at = at
        self._folder = folder
        self._token = installation.token(at.home, "ENCLII_GIT_DEPLOY_TOKEN")

    def first(self) -> None:
        """Make the repositories, and push each once."""
        for project in self.projects:
            folder = self._folder / project
            sample(folder, f"{project}\n")
            (folder / "enclii.yaml").write_text(SERVICE)
            kept = [line for line in (folder / "Dockerfile").read_text().splitlines() if not line.startswith("CMD")]
            (folder / "Dockerfile").write_text("\n".join(kept) + "\n" + TRAPPED)
            self._push(project, f"{project} first\n")

    def last(self) -> None:
        """Push each once more, now that nothing dies: what has to run in the end."""
        for project in self.projects:
            self._push(project, f"{project} last\n")

    def threads(self, count: int, seconds: float, ended: threading.Event) -> list[threading.Thread]:
        """One for each repository; all of them together push ``count`` times."""

        def push(number: int) -> None:
            project = self.projects[number % REPOSITORIES]
            self._push(project, f"{project} {number}\n", ended)

        return [paced(range(first, count, REPOSITORIES), count, seconds, ended, push) for first in range(REPOSITORIES)]

    def newest(self, project: str) -> Pushed:
        """The last one of a project."""
        return next(one for one in reversed(self.accepted) if one.project == project)

    def _push(self, project: str, page: str, ended: threading.Event | None = None) -> None:
        """Commit and push, again and again as a person would whose push was refused."""
        folder, ended = self._folder / project, ended or threading.Event()
        (folder / "index.html").write_text(page)
        sha = commit(folder, f"Say {page.strip()}")
        deadline, tries, said = time.monotonic() + PATIENCE, 0, ""
        while time.monotonic() < deadline:
            tries += 1
            code, said = self._git_push(folder, project)
            if code == 0:
                self.accepted.append(Pushed(project, sha, page, time.monotonic(), tries))
                return
            if ended.wait(AGAIN):
                break
        self.refused.append(f"{project} {sha[:12]}: {said[-300:]}")

    def _git_push(self, folder: Path, project: str) -> tuple[int, str]:
        scheme, _, rest = self._at.githost.partition("://")
        url = f"{scheme}://deployer:{self._token}@{rest}/{project}/shop.git"
        argv = ["git", "push", "-q", url, "main"]
        try:
            done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=GIT_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return 1, f"git did not end within {GIT_LIMIT} s"
        return done.returncode, done.stderr

    def told(self) -> dict[str, Any]:
        """How many were accepted, how often they had to be repeated, and what never was."""
        again = [one.tries for one in self.accepted if one.tries > 1]
        return {"accepted": len(self.accepted), "repeated": len(again), "most_tries": max(again, default=1),
                "never_accepted": self.refused[:20]}  # fmt: skip
