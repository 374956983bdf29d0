"""The command line's client beside a server that takes a request and breaks the connection instead of answering it."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from console.client import Client, Failure

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
ASK: dict[str, Callable[[Client], Any]] = {
    "a read": lambda client: client.get("/v1/projects"),
    "a command with a key": lambda client: client.post("/v1/holds", {"why": "now"}, key="c-1"),
    "a command without one": lambda client: client.post("/v1/holds", {"why": "now"}),
}


@contextlib.contextmanager
def breaking(times: int) -> Iterator[tuple[str, list[str]]]:
    """Yield a server's address and the first lines of its requests; it answers none of the first ``times``."""
    asked: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode().strip())
            if len(asked) > times:
                self.wfile.write(ANSWER)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize(
    ("request_of", "broken", "answered", "times"),
    [
        ("a read", 1, True, 2),
        ("a read", 2, False, 2),
        ("a command with a key", 1, True, 2),
        ("a command without one", 1, False, 1),
    ],
)
def test_what_may_be_asked_twice_is_asked_again_when_the_connection_breaks(
    request_of: str, broken: int, answered: bool, times: int
) -> None:
    with breaking(broken) as (url, asked):
        client = Client(url, "token")
        if answered:
            assert ASK[request_of](client) == {}
        else:
            with pytest.raises(Failure, match="does not answer") as failed:
                ASK[request_of](client)
            assert failed.value.reason == "api_away"

    assert len(asked) == times
