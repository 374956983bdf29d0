"""A real BuildKit daemon for one test module: its own folder, its own socket, killed with all that it runs."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket as socketlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.builders.buildkit_commands import Daemon
from pipeline.process import SEARCH_PATH, orphan_proof
from tests.support.components import needs

START_LIMIT = 120.0


@contextlib.contextmanager
def running_buildkitd(certificates: Path | None = None) -> Iterator[Daemon]:
    """Yield how to reach it; with ``certificates``, over TCP by mutual TLS.

    Its folder is short, since a socket's path has 108 bytes at most.
    """
    program, _ = needs("buildkitd", "buildctl", "runc"), needs("buildctl")
    folder = Path(tempfile.mkdtemp(prefix="bk-"))
    socket = folder / "s"
    argv = (
        *(program, "--addr", f"unix://{socket}", "--root", str(folder / "root"), "--oci-worker=true"),
        *("--containerd-worker=false", "--oci-worker-binary=runc", "--oci-worker-snapshotter=overlayfs"),
    )
    address = f"unix://{socket}"
    if certificates:
        address = f"tcp://127.0.0.1:{_free_port()}"
        files = {"ca": "tlscacert", "cert": "tlscert", "key": "tlskey"}
        tls = (word for name, flag in files.items() for word in (f"--{flag}", str(certificates / f"{name}.pem")))
        argv = (*argv, "--addr", address, *tls)
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            orphan_proof(argv), stdout=log, stderr=subprocess.STDOUT, env={"PATH": SEARCH_PATH, "HOME": str(folder)}
        )
    try:
        _await(socket, daemon, folder / "log")
        yield Daemon(needs("buildctl"), address)
    finally:
        daemon.send_signal(signal.SIGKILL)  # TERM waits for builds that hang
        daemon.wait()
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _unmount(folder: Path) -> None:
    """What the steps of a daemon that was killed had mounted."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((one for one in points if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(("umount", "--lazy", "--", point), capture_output=True, check=False)


def _free_port() -> int:
    with socketlib.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(socket: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"buildkitd did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)  # buildkitd says nowhere else that it listens
