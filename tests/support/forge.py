"""A forge for one test: a bare repository behind git's own HTTP program, which asks for a token, and its webhooks.

What the tests replace is the forge's web site alone; the protocol, the packs and the signatures are the real ones.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from tests.support.components import needs

ID = 186853002


@dataclass
class Forge:
    """A running forge with one repository, ``shop/shop``; ``secret`` and ``payload_url`` are as pasted into it."""

    root: Path
    url: str
    token: str
    payload_url: str = ""
    secret: str = ""
    authorized: list[str] = field(default_factory=list)

    @property
    def repository(self) -> str:
        return f"{self.url}/Shop/shop.git"

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def bare(self) -> Path:
        return self.root / "Shop/shop.git"

    def deliver(
        self, guid: str, payload: dict[str, Any], *, event: str = "push", secret: str | None = None
    ) -> tuple[int, dict[str, Any], Message]:
        """POST one webhook, signed as GitHub signs: the status, the JSON and the headers of the answer."""
        body = json.dumps(payload).encode()
        key = (self.secret if secret is None else secret).encode()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": guid,
            "X-Hub-Signature-256": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
        }
        request = urllib.request.Request(self.payload_url, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), answer.headers
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused), refused.headers

    def pushed(self, sha: str, *, ref: str = "refs/heads/main", repository: int = ID) -> dict[str, Any]:
        """The body of a push event."""
        known = {"id": repository, "full_name": "Shop/shop"}
        return {"ref": ref, "before": "0" * 40, "after": sha, "repository": known, "sender": {"login": "octocat"}}


@contextlib.contextmanager
def running_forge(root: Path, *, token: str = "") -> Iterator[Forge]:
    """Serve ``root`` on a port that the system chose; an empty token lets everybody read."""
    needs("git")
    repository = root / "Shop/shop.git"
    repository.mkdir(parents=True)
    subprocess.run(("git", "init", "-q", "--bare", "-b", "main", str(repository)), check=True)

    class Handler(_Handler):
        pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        forge = Forge(root, f"http://127.0.0.1:{server.server_address[1]}", token)
        Handler.forge = forge
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield forge
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    forge: Forge

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return None

    def _answer(self, body: bytes) -> None:
        if not self._is_welcome():
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environment = {
            "GIT_PROJECT_ROOT": str(self.forge.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(("git", "http-backend"), input=body, env=environment, capture_output=True, check=True)
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + done.stdout)

    def _is_welcome(self) -> bool:
        if not self.forge.token:
            return True
        given = self.headers.get("Authorization", "")
        expected = base64.b64encode(f"x-access-token:{self.forge.token}".encode()).decode()
        if given:
            self.forge.authorized.append(given)
        return given == f"Basic {expected}"
