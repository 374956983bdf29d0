"""A real config repository behind git's own daemon, and a person who clones it and uses the git program."""

from __future__ import annotations

import contextlib
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.components import needs

PERSON = ("-c", "user.name=operator", "-c", "user.email=operator@example.invalid", "-c", "commit.gpgsign=false")


def git(*argv: str, cwd: Path) -> str:
    """Run git as a person and return what it printed."""
    done = subprocess.run(
        [needs("git"), *PERSON, *argv],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", "GIT_EDITOR": "true"},
    )
    assert done.returncode == 0, f"git {argv}: {done.stderr}"
    return done.stdout.strip()


def bare(tmp: Path) -> Path:
    """An empty bare repository whose branch is main."""
    path = tmp / "config.git"
    path.mkdir(parents=True)
    git("init", "-q", "--bare", "--initial-branch=main", ".", cwd=path)
    return path


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """Yield ``git://127.0.0.1:PORT`` while git serves every repository below ``root``, for writing too."""
    program = needs("git")
    argv = (program, "daemon", "--inetd", "--export-all", "--enable=receive-pack", f"--base-path={root}", str(root))

    class Door(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            subprocess.run(argv, stdin=self.request, stdout=self.request, check=False, timeout=60)

    class House(socketserver.ThreadingTCPServer):
        request_queue_size = 128  # of five, a busy test lets connections wait for the kernel to try them again

    with House(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"git://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Person:
    """Somebody with a clone of the config repository."""

    def __init__(self, remote: Path, tmp: Path) -> None:
        self.clone = tmp / "clone"
        git("clone", "-q", str(remote), str(self.clone), cwd=tmp)

    def git(self, *argv: str) -> str:
        return git(*argv, cwd=self.clone)

    def pull(self) -> str:
        """Bring the clone to the remote's tip, which is returned."""
        self.git("fetch", "-q", "origin")
        self.git("checkout", "-q", "-B", "main", "origin/main")
        return self.git("rev-parse", "HEAD")

    def write(self, path: str, text: str) -> None:
        target = self.clone / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def push(self, message: str = "by hand", *, force: bool = False) -> str:
        """Commit what changed, if anything did, push it, and return the new tip."""
        self.git("add", "-A")
        if self.git("status", "--porcelain"):
            self.git("commit", "-q", "-m", message)
        self.git("push", "-q", *(["--force"] if force else []), "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def revert(self, commit: str) -> str:
        """``git revert`` and push."""
        self.git("revert", "--no-edit", commit)
        return self.push()
