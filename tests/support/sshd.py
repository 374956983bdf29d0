"""A real sshd on a port of its own, which lets one key in and shows its holder git repositories."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.process import orphan_proof
from tests.support.components import needs

START_LIMIT = 60.0
# Each session waits for the file "go", so that a test can look at whoever is connected.
_SESSION = (
    '#!/bin/sh\ntouch {room}/begun\nwhile [ ! -e {room}/go ]; do sleep 0.05; done\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n'
)
_CONFIGURATION = """\
ListenAddress 127.0.0.1:{port}
HostKey {room}/host
AuthorizedKeysFile {room}/authorized
ForceCommand {room}/session
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
LogLevel VERBOSE
"""


@dataclass
class Server:
    """A running sshd."""

    room: Path
    port: int
    program: subprocess.Popen[bytes]

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    def admit(self, key: Path) -> None:
        """Let the holder of this key in."""
        (self.room / "authorized").write_text(key.with_suffix(".pub").read_text())

    def log(self) -> str:
        return (self.room / "log").read_text()


def new_key(path: Path) -> Path:
    """A fresh key pair; the private half is for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run((needs("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)), check=True)
    return path


@contextlib.contextmanager
def running_sshd(room: Path, *, port: int = 0) -> Iterator[Server]:
    """Yield the running server; ``port`` 0 is the system's choice. The next one in ``room`` has another host key."""
    room.mkdir(parents=True, exist_ok=True)
    port = port or _free_port()
    for name in ("host", "host.pub"):
        (room / name).unlink(missing_ok=True)
    new_key(room / "host")
    (room / "session").write_text(_SESSION.format(room=shlex.quote(str(room))))
    (room / "session").chmod(0o755)
    (room / "config").write_text(_CONFIGURATION.format(room=room, port=port))
    with (room / "log").open("ab") as log:
        program = subprocess.Popen(_argv(room / "config"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    server = Server(room, port, program)
    try:
        _await(server)
        yield server
    finally:
        program.terminate()
        program.wait()


def _argv(configuration: Path) -> tuple[str, ...]:
    """As root it wants a folder below /run, which is made only where it is a service: it gets a /run of its own."""
    plain = (needs("sshd"), "-D", "-e", "-f", str(configuration))
    if os.geteuid() != 0:
        return orphan_proof(plain)
    inside = f"mount -t tmpfs none /run && mkdir /run/sshd && exec {shlex.join(plain)}"
    return orphan_proof((needs("unshare"), "--mount", "sh", "-c", inside))


def _await(server: Server) -> None:
    deadline = time.monotonic() + START_LIMIT
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        assert server.program.poll() is None, server.log()
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
