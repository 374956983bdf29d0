"""The page on this machine that GitHub sends a browser back to: it takes one answer, with the state it was given."""

from __future__ import annotations

import hmac
import http.server
import secrets
import threading
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

DONE = b"<!doctype html><title>Enclii</title><p>Thank you: the command line goes on. This page can be closed."


class Callback:
    """Serves the first page at an address that nobody guesses, for others on this machine can ask too, and waits for
    ``/back?code=…&state=…``.
    """

    def __init__(self, state: str, port: int = 0) -> None:
        self.page = ""
        self.code = ""
        self._state = state
        self._first = f"/{secrets.token_urlsafe(24)}"
        self._came = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = owner._answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the code would be in it
                return None

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.first = self.url + self._first

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, seconds: float) -> str:
        """The code, or "" when none came in time."""
        return self.code if self._came.wait(seconds) else ""

    def _answer(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if hmac.compare_digest(parts.path.encode(), self._first.encode()):
            return 200, self.page.encode()
        said = parse_qs(parts.query)
        code, state = said.get("code", [""])[0], said.get("state", [""])[0]
        if parts.path != "/back" or not code or not hmac.compare_digest(state.encode(), self._state.encode()):
            return 404, b"no such page"
        if not self._came.is_set():
            self.code = code
            self._came.set()
        return 200, DONE
