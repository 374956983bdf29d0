"""GitHub as people see it: pull requests that are pushed to, comments and closes, each told by a signed webhook.

The sources are behind git's own program, the API is the tests' small GitHub; both know the same pull requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.forge import Forge
from tests.support.github import NUMBER, TOKEN, GitHub, running_github
from tests.support.line import Line, eventually, git

REPOSITORY = {"id": NUMBER, "full_name": "shop/shop"}
STRANGERS = {"id": 7, "full_name": "stranger/shop"}


@dataclass
class Site:
    """One repository on it; its clock is a second further with each thing that happens."""

    api: GitHub
    forge: Forge
    clock: int = 0

    def tick(self) -> str:
        self.clock += 1
        return f"2026-11-23T12:{self.clock // 60:02}:{self.clock % 60:02}Z"

    def pushed(self, number: int, folder: Path, *, action: str = "synchronize", fork: bool = False) -> str:
        """Somebody opens a pull request with the folder's head, or pushes to it; the head."""
        git("push", "-q", "-f", str(self.forge.bare), f"HEAD:refs/pull/{number}/head", cwd=folder)
        head = git("rev-parse", "HEAD", cwd=folder).strip()
        pull = self.api.pull(number, head, fork=fork, updated_at=self.tick())
        self.tell("pull_request", action=action, number=number, pull_request=pull, sender=pull["user"])
        return head

    def commented(self, number: int, body: str, author: str = "will") -> str:
        """Somebody writes below a pull request; the comment's id."""
        made = self.api.comment(number, body, author)
        said = self.api.comments[made] | {"created_at": self.tick()}
        issue = {"number": number, "state": self.api.pulls[number]["state"], "pull_request": {"url": "…"}}
        self.tell("issue_comment", action="created", issue=issue, comment=said, sender=said["user"])
        return str(made)

    def closed(self, number: int, action: str = "closed") -> None:
        """Somebody closes the pull request, or opens it again."""
        pull = self.api.pulls[number]
        pull |= {"state": "closed" if action == "closed" else "open", "updated_at": self.tick()}
        self.tell("pull_request", action=action, number=number, pull_request=pull, sender=pull["user"])

    def tell(self, event: str, **payload: Any) -> None:
        """Deliver one webhook; the receiver takes it."""
        status, said, _ = self.forge.deliver(str(uuid.uuid4()), {**payload, "repository": REPOSITORY}, event=event)
        assert status == 202, said

    def reacted(self, comment: str) -> list[str]:
        return [content for found, content in self.api.reactions if found == comment]

    def saw(self, comment: str, *reactions: str) -> None:
        """Wait until a comment has these reactions, in that order."""
        eventually(lambda: self.reacted(comment) == list(reactions), limit=120, what=f"{comment}: {reactions}")


@contextlib.contextmanager
def running_site(line: Line, forge: Forge) -> Iterator[Site]:
    """The API beside the forge, and the forges' process of the line with its credential."""
    with github_in_thread() as api:
        folder = line.home / "forges"
        folder.mkdir(mode=0o700)
        file = folder / f"{forge.host}.json"
        file.write_text(json.dumps({"forge": "github", "api": api.url, "token": TOKEN}))
        file.chmod(0o600)
        line.start_as("forge", "gitops", "forge")
        yield Site(api, forge)


@contextlib.contextmanager
def github_in_thread() -> Iterator[GitHub]:
    """The small GitHub in a loop of its own, for tests that have none."""
    ready: queue.Queue[tuple[GitHub, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        ending = asyncio.Event()
        async with running_github() as state:
            ready.put((state, asyncio.get_running_loop(), ending))
            await ending.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    state, loop, ending = ready.get(timeout=60)
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()
