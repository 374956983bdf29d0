"""``make demo``: the whole story on this machine, each step shown only after it was seen to hold.

Starts Enclii, pushes a small application, waits until it runs by digest, pushes a change, rolls it back and leaves
everything up. Exit code 0 means that every step held.
"""

from __future__ import annotations

import functools
import http.client
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from console import installation, platform
from console.client import Client, Failure
from pipeline.errors import EncliiError, Unavailable
from pipeline.process import SEARCH_PATH

LIMIT = 120.0
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY index.html /www/index.html
USER 10001
# Process 1 hears only what it asked for: without the trap each stop would take its whole grace.
CMD ["/bin/busybox", "sh", "-c", "trap exit TERM; /bin/busybox httpd -f -p 8080 -h /www & wait"]
"""
SERVICE_FILE = """\
services:
  web:
    port: 8080
    health: /index.html
    replicas: 2
"""


class Demo:
    """The story's person: a folder to work in, the addresses that ``up`` gave, a project that nobody has pushed to."""

    def __init__(self, at: installation.Addresses, folder: Path) -> None:
        self.project = "shop"
        self._at = at
        self._folder = folder
        self._token = installation.token(at.home, "ENCLII_API_TOKEN")
        self._deploy = installation.token(at.home, "ENCLII_GIT_DEPLOY_TOKEN")

    def write(self) -> None:
        """The application: one page, served by the machine's static busybox."""
        busybox = shutil.which("busybox", path=SEARCH_PATH)
        if busybox is None:
            raise Unavailable("busybox is missing: apt-get install busybox-static", reason="busybox_missing")
        shutil.copy(busybox, self._folder / "busybox")
        (self._folder / "Dockerfile").write_text(DOCKERFILE)
        (self._folder / "enclii.yaml").write_text(SERVICE_FILE)
        self._git("init", "-q", "-b", "main")

    def choose(self) -> None:
        """The first of shop, shop-2, … without a history: each telling of the story has a project of its own."""
        names = itertools.chain(("shop",), (f"shop-{number}" for number in itertools.count(2)))
        self.project = next(name for name in names if not self._heads(name))

    def _heads(self, project: str) -> str:
        """What was pushed there; nothing where the git host knows no such repository."""
        try:
            return self._git("ls-remote", "--heads", self._url(project))
        except Unavailable:
            return ""

    def push(self, page: str) -> str:
        """Commit the page and push it; what the remote said."""
        (self._folder / "index.html").write_text(page)
        self._git("add", "-A")
        self._git("commit", "-q", "-m", f"Say {page.strip()}")
        return self._git("push", self._url(self.project), "main")

    def _url(self, project: str) -> str:
        scheme, _, rest = self._at.githost.partition("://")
        return f"{scheme}://deployer:{self._deploy}@{rest}/{project}/shop.git"

    def history(self) -> str:
        """The config repository's log."""
        repositories = self._at.home / "githost" / "repositories" / "enclii" / "config.git"
        return self._git("--git-dir", str(repositories), "log", "--format=%h %an: %s", "main")

    def rollback(self) -> None:
        """Ask for the last release that was healthy."""
        self.api("/v1/rollbacks", {"project": self.project, "environment": "production", "service": "web"})

    def runs(self, version: str) -> dict[str, Any]:
        """The live deployment once it is that release, running and healthy."""
        path = f"/v1/projects/{self.project}/services?environment=production&include_status=true"
        services = self.api(path)["services"]
        now = services[0]["current_deployment"] if services else None
        return now if now and (now["version"], now["status"]) == (version, "running") else {}

    @property
    def host(self) -> str:
        """The service's stable name."""
        return f"web.{self.project}.localhost"

    def page(self) -> str:
        """What the service answers at its stable address."""
        request = urllib.request.Request(self._at.door, headers={"Host": self.host})  # noqa: S310
        with _opened(request) as answer:
            return str(answer.read().decode())

    def api(self, path: str, body: Mapping[str, str] | None = None) -> Any:
        """One request to the API."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._at.console + path, data=data, headers=headers)  # noqa: S310
        with _opened(request) as answer:
            return json.load(answer)

    def _git(self, *words: str) -> str:
        identity = ("-c", "user.name=deployer", "-c", "user.email=deployer@users.enclii.invalid")
        done = subprocess.run(
            ["git", *identity, *words], cwd=self._folder, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise Unavailable(f"git {words[0]} ended with {done.returncode}: {done.stderr}", reason="git_failed")
        return done.stdout + done.stderr


def _opened(request: urllib.request.Request) -> Any:
    """The answer. Raises OSError; an error that was answered leaves no connection open."""
    try:
        return urllib.request.urlopen(request, timeout=10)  # noqa: S310 - our own loopback address
    except urllib.error.HTTPError as error:
        error.close()
        raise


def seen(what: str, question: Callable[[], Any], *, limit: float = LIMIT) -> Any:
    """Wait until ``question`` says yes, and say how long it took. Raises Unavailable when it never does."""
    begun = time.monotonic()
    last: object = "no answer"
    while time.monotonic() - begun < limit:
        try:
            if answer := question():
                _say(f"  ✓ {what}  ({time.monotonic() - begun:.1f} s)")
                return answer
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.1)  # a page is asked, as a person would: it tells nobody that it changed
    raise Unavailable(f"{what}: not seen within {limit:g} s ({last})", reason="not_seen")


def story(at: installation.Addresses, folder: Path, *, limit: float = LIMIT) -> str:
    """Push, run, push again, roll back; each seen within ``limit`` seconds; the service's stable name.

    Raises Unavailable, OSError.
    """
    demo = Demo(at, folder)
    see = functools.partial(seen, limit=limit)
    see("the API and the git host answer", lambda: demo.api("/v1/projects") is not None)
    demo.write()
    demo.choose()
    demo_first = demo.push("the first page\n")
    _say("\n".join(f"  {line.rstrip()}" for line in demo_first.splitlines() if line.startswith("remote:")))
    see("v1 is built, signed, committed and runs by its digest", lambda: demo.runs("v1"))
    see("the stable address answers with it", lambda: demo.page() == "the first page\n")
    demo.push("the second page\n")
    see("v2 runs", lambda: demo.runs("v2"))
    see("the same address answers with it", lambda: demo.page() == "the second page\n")
    demo.rollback()
    see("rolled back: v1 runs again", lambda: demo.runs("v1"))
    see("the same address answers with the first page", lambda: demo.page() == "the first page\n")
    _say("\nThe config repository tells the story, newest first:")
    _say("\n".join(f"  {line}" for line in demo.history().splitlines()))
    return demo.host


def login(at: installation.Addresses) -> str:
    """An address that logs a browser in; the console's own, when it gives none."""
    try:
        return str(Client(at.console, installation.token(at.home, "ENCLII_API_TOKEN")).post("/v1/logins")["address"])
    except Failure:
        return at.console


def main() -> int:
    """Run the story; 0 only when every step was seen to hold."""
    home = installation.home_of(os.environ, Path.cwd())
    try:
        at = platform.up(home, environ=os.environ)
        _say(f"Enclii is up; its state is in {at.home}")
        seen("every process is ready", lambda: not platform.not_ready(home, limit=2.0))
        with tempfile.TemporaryDirectory(prefix="enclii-demo-") as folder:
            host = story(at, Path(folder))
    except (EncliiError, OSError, subprocess.SubprocessError, http.client.HTTPException) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    _say("\nLeft up for you:")
    _say(f"  service     {at.door.replace('localhost', host, 1)}")
    places = {"API": at.console, "git host": at.githost, "registry": at.registry, "webhooks": at.receiver}
    for what, where in places.items():
        _say(f"  {what:11} {where}")
    _say(f"\nOpen in a browser; it logs you in, once (another: enclii open):\n  {login(at)}\n")
    _say("Look around: .venv/bin/enclii ps\nStop: make down      Leave nothing: make down PURGE=1")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
