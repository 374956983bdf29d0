"""A running line with one pushed service, and a watch that notes when a branch moved."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.line import Line, commit, eventually, git, running_line, sample

HOST = "web.shop.localhost"
PLACE = {"project": "shop", "environment": "production", "service": "web"}
WATCH = 0.002
HEAL = "30s"
"""The default: the tests look for drift more often, which would be measured along."""


@dataclass
class Moves:
    """When a branch of the git host moved, seen within two milliseconds; the time is time.monotonic()'s."""

    path: Path
    seen: list[tuple[float, str]] = field(default_factory=list)

    def look(self) -> None:
        """Note the branch's head when it is another than before."""
        with contextlib.suppress(FileNotFoundError):
            head = self.path.read_text().strip()
            if head and (not self.seen or self.seen[-1][1] != head):
                self.seen.append((time.monotonic(), head))

    def after(self, moment: float) -> float:
        """The first move after ``moment``. Raises KeyError when there was none yet."""
        for at, _ in self.seen:
            if at > moment:
                return at
        raise KeyError("the branch has not moved")


class Story:
    """A deployer with one service on a line of their own."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.line = line
        self.folder = folder
        repositories = line.home / "githost" / "repositories"
        self.source = Moves(repositories / "shop/shop.git/refs/heads/main")
        self.config = Moves(repositories / "enclii/config.git/refs/heads/main")
        self.number = 0

    @property
    def version(self) -> str:
        """The release that the newest push becomes."""
        return f"v{self.number}"

    def push(self) -> None:
        """Change the page and push it; returns when git does."""
        self.number += 1
        (self.folder / "index.html").write_text(f"page {self.number}\n")
        commit(self.folder, f"Page {self.number}")
        git("push", "-q", self.line.url("shop/shop"), "main", cwd=self.folder)

    def deployed(self) -> None:
        """Push, and wait until the release runs."""
        self.push()
        self.until_runs(self.version)

    def live(self) -> dict[str, Any]:
        """What the API says is live."""
        told = self.line.api("/v1/projects/shop/services?environment=production&include_status=true")["services"]
        return dict(told[0]["current_deployment"] or {}) if told else {}

    def runs(self, version: str) -> bool:
        """True once that release is the live one, running and healthy."""
        now = self.live()
        return (now.get("version"), now.get("status"), now.get("health")) == (version, "running", "healthy")

    def until_runs(self, version: str) -> None:
        """Wait for it."""
        eventually(lambda: self.runs(version), what=f"{version} runs")

    def settled(self) -> None:
        """Wait until the replaced release's pods are gone, too: ending them is no part of the push that follows."""
        label = f"label=enclii.dev/instance={self.line.instance}"
        desired = int(self.live()["replicas"].partition("/")[2])
        eventually(lambda: len(self.line.podman("pod", "ps", "-q", "--filter", label)) == desired, what="old pods gone")

    def rollback(self) -> None:
        """Ask for the last healthy release."""
        self.line.api("/v1/rollbacks", dict(PLACE))

    def resume(self) -> None:
        """Lift the hold of a rollback, and wait until git says so."""
        asked = time.monotonic()
        self.line.api("/v1/resumes", dict(PLACE))
        eventually(lambda: self.config.after(asked), what="the hold is lifted")


@contextlib.contextmanager
def told(folder: Path) -> Iterator[Story]:
    """A line whose service runs its first release."""
    with running_line(folder / "home", {"HEAL": HEAL}) as line:
        sample(folder / "shop", "page 0\n")
        story = Story(line, folder / "shop")
        with followed_moves(story.source, story.config):
            story.deployed()
            yield story


@contextlib.contextmanager
def followed_moves(*branches: Moves) -> Iterator[None]:
    """Note each move of the branches while the block runs."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH):
            for branch in branches:
                branch.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
