"""A server of JSON in a thread of its own, for clients that block: a private Sigstore, a Vault."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, str, dict[str, Any], Mapping[str, str]], tuple[int, dict[str, Any]]]
"""(method, path, body, headers) → (status, document)."""


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Yield the server's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            given = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, told = answer(self.command, self.path, json.loads(given) if given else {}, self.headers)
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = handle_one  # noqa: N815 - the server's own names

        def log_message(self, *_: Any) -> None:
            """Nothing on the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
