"""A real nats-server for one test: JetStream with every write fsynced, a port that the system chose, ended with TERM.

Starting again on the same directory and port continues with the same streams, so a test can let it die in between.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from console import nats_config
from pipeline.process import orphan_proof
from pipeline.rights import USERS
from tests.support.components import needs

START_LIMIT = 60.0
END_LIMIT = 60.0
MAX_PAYLOAD = 8 << 20


def password_of(user: str) -> str:
    """The password of a user of a server that is started with ``AUTHORIZED``."""
    return f"password-of-{user}"


def monitor_of(url: str) -> str:
    """The address of the monitoring page of the server that was started last at ``url``."""
    return _monitors[url]


JUDGE = "judge"
AUTHORIZED = (
    nats_config.authorization({user: password_of(user) for user in USERS}, more=f"{{user: {JUDGE}, password: x}}")
    + f"no_auth_user: {JUDGE}\n"
)
"""Each process's user with its rights; whoever gives no name, as a test that looks does, may everything."""

_monitors: dict[str, str] = {}


def registered(url: str, monitors: str) -> None:
    """Remember the monitoring pages of servers that something else started."""
    _monitors[url] = monitors


@contextlib.contextmanager
def running_nats(tmp: Path, *, port: int = -1, sync: str = "always", extra: str = "") -> Iterator[str]:
    """Yield ``nats://127.0.0.1:PORT`` while the server runs with its store in ``tmp``.

    ``extra`` is appended to the configuration: users and permissions, or limits that a test wants to reach.
    """
    with running_server(tmp, port=port, sync=sync, extra=extra) as (url, _):
        yield url


@contextlib.contextmanager
def running_server(
    tmp: Path, *, port: int = -1, sync: str = "always", extra: str = ""
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """As ``running_nats``, with the process too, for the test that stops or kills it."""
    program = needs("nats-server")
    ports = tmp / "nats.ports"
    ports.mkdir(parents=True, exist_ok=True)
    for left in ports.iterdir():
        left.unlink()
    configuration = tmp / "nats.conf"
    configuration.write_text(_configuration(tmp / "jetstream", ports, port, sync) + extra)
    log = tmp / "nats.log"
    with log.open("wb") as sink:
        argv = orphan_proof((program, "-c", str(configuration)))
        process = subprocess.Popen(argv, stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield _address(process, ports, log), process
    finally:
        _end(process)


def _configuration(store: Path, ports: Path, port: int, sync: str) -> str:
    return f"""
listen: "127.0.0.1:{port}"
http: "127.0.0.1:-1"
ports_file_dir: {json.dumps(str(ports))}
max_payload: {MAX_PAYLOAD}
jetstream {{
  store_dir: {json.dumps(str(store))}
  sync_interval: {sync}
}}
"""


def _address(process: subprocess.Popen[bytes], ports: Path, log: Path) -> str:
    """The server writes its ports once it listens; the file may be seen half-written, so until it parses."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        with contextlib.suppress(StopIteration, ValueError, OSError):
            found = json.loads(next(ports.glob("*.ports")).read_text())
            url = str(found["nats"][0])
            _monitors[url] = str(found["monitoring"][0])
            return url
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"nats-server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.005)  # the file is how nats-server tells its ports


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
