"""The command line's client beside a server that takes a request and breaks the connection instead of answering it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console import platform, ports
from console.client import Client, Failure
from console.session import Session
from console.supervise import Program
from tests.support.components import needs
from tests.support.free_ports import free_port
from tests.support.line import eventually

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
DIES_ONCE = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mark = pathlib.Path(sys.argv[2])
        if not mark.exists():
            mark.touch()
            os._exit(1)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
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


@pytest.mark.parametrize("restarts", [True, False])
def test_a_server_that_is_not_there_is_waited_for_where_it_is_started_again(restarts: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        asked: list[int] = []

        def listen() -> bool:
            asked.append(1)
            if restarts:
                taken.listen()
                threading.Thread(target=_answer, args=(taken,)).start()
            return restarts

        client = Client(f"http://127.0.0.1:{taken.getsockname()[1]}", "token", restarts=listen)
        if restarts:
            assert client.post("/v1/holds", {"why": "now"}) == {}
        else:
            with pytest.raises(Failure, match="does not answer"):
                client.get("/v1/projects")

    assert asked == [1]


@pytest.mark.parametrize(
    ("server", "here"),
    [
        ("http://127.0.0.1:{port}", True),
        ("http://localhost:{port}", True),
        ("http://enclii.invalid:{port}", False),
        ("https://enclii.invalid", False),
    ],
)
def test_only_a_server_of_this_machine_is_advised_to_be_started(server: str, here: bool) -> None:
    with pytest.raises(Failure, match="does not answer") as failed:
        Client(server.format(port=free_port()), "token").get("/v1/projects")

    assert failed.value.reason == "api_away"
    assert ("enclii up" in failed.value.advice) is here
    assert ("not on this machine" in failed.value.advice) is not here


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder on ports that the system chose; ended and purged afterwards."""
    needs("nats-server", "docker-registry", "setpriv")
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "instance").write_text("e-test-" + secrets.token_hex(4))
    (folder / "ports.toml").write_text(ports.render({name: free_port() for name in ports.PREFERRED}))
    yield folder
    platform.down(folder, purge=True)


def test_the_command_line_waits_for_an_api_that_died_while_the_supervisor_runs(home: Path) -> None:
    script, mark, port = home.with_name("dies_once.py"), home.with_name("died"), ports.read(home / "ports.toml")
    script.write_text(DIES_ONCE)
    argv = (sys.executable, str(script), str(port["console"]), str(mark))
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    platform.up(home, environ=environ, enclii=[Program("console", argv)])
    eventually(lambda: not ports.is_free(port["console"]), what="it listens")

    session = Session({"ENCLII_HOME": str(home)}, home.parent)
    assert session.api.get("/v1/projects") == {}
    assert mark.exists()

    platform.down(home)
    with pytest.raises(Failure, match="does not answer"):
        session.api.get("/v1/projects")


def _answer(listening: socket.socket) -> None:
    """Answer one request."""
    connection, _ = listening.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(ANSWER)
