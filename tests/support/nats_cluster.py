"""Three nats-servers on this machine as one cluster, configured as in Kubernetes: TLS, users with their rights, fsync.

Each can be killed and started again on its own disk and ports.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from console import nats_config
from pipeline.process import orphan_proof
from pipeline.rights import USERS
from tests.support import nats
from tests.support.certificates import write_certificates
from tests.support.components import needs
from tests.support.line import eventually, free_port

NODES = range(3)


class NatsCluster:
    """The servers by their number; ``url`` and ``monitors`` name all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files, _ = write_certificates(folder)
        self.ca = files / "ca.pem"
        self._tls = nats_config.Tls(*(str(files / f"{name}.pem") for name in ("cert", "key", "ca")))
        self._ports = [[free_port() for _ in range(3)] for _ in NODES]
        self.url = ",".join(f"tls://127.0.0.1:{client}" for client, _, _ in self._ports)
        self.monitors = ",".join(self._monitor(number) for number in NODES)
        nats.registered(self.url, self.monitors)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> dict[str, str]:
        """What a line on these servers is told beside the usual."""
        return {"NATS_CA": str(self.ca), "NATS_REPLICAS": "3"}

    def start(self, *numbers: int) -> None:
        """Start these, or all that do not run, and wait until each has found the others and is up to date."""
        for number in numbers or NODES:
            if number not in self._running:
                self._running[number] = self._started(number)
        eventually(
            lambda: all(self._healthy(number) for number in self._running), what="the NATS servers are a cluster"
        )

    def kill(self, number: int) -> None:
        """kill -9, and wait until it is gone."""
        running = self._running.pop(number)
        running.kill()
        running.wait()

    def leader(self, stream: str) -> int:
        """The number of the server that leads a stream."""
        return int(eventually(lambda: self._leader(stream), what=f"{stream} has a leader").removeprefix("node-"))

    def end(self) -> None:
        """End all in order."""
        for running in self._running.values():
            running.terminate()
        for running in self._running.values():
            running.wait(nats.END_LIMIT)

    def _started(self, number: int) -> subprocess.Popen[bytes]:
        client, routing, monitor = self._ports[number]
        here = "127.0.0.1"
        member = nats_config.Member(
            f"node-{number}", f"{here}:{client}", f"{here}:{routing}", f"{here}:{monitor}",
            [f"{here}:{ports[1]}" for ports in self._ports], str(self.folder / f"node-{number}"),
        )  # fmt: skip
        configuration = self.folder / f"node-{number}.conf"
        configuration.write_text(nats_config.member(member, tls=self._tls))
        passwords = {nats_config.reference(user).name: nats.password_of(user) for user in USERS}
        with (self.folder / f"node-{number}.log").open("ab") as log:
            argv = orphan_proof((needs("nats-server"), "-c", str(configuration)))
            return subprocess.Popen(argv, env=passwords | {"PATH": "/usr/bin:/bin"}, stdout=log, stderr=log)

    def _monitor(self, number: int) -> str:
        return f"http://127.0.0.1:{self._ports[number][2]}"

    def _page(self, number: int, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self._monitor(number) + path, timeout=10) as answer:
            return dict(json.load(answer))

    def _healthy(self, number: int) -> bool:
        return self._page(number, "/healthz").get("status") == "ok"

    def _leader(self, stream: str) -> str:
        for number in self._running:
            with contextlib.suppress(OSError):
                for account in self._page(number, "/jsz?streams=true").get("account_details") or ():
                    for one in account.get("stream_detail") or ():
                        if one["name"] == stream and one.get("cluster", {}).get("leader"):
                            return str(one["cluster"]["leader"])
        return ""


@contextlib.contextmanager
def running_nats_cluster(folder: Path) -> Iterator[NatsCluster]:
    """Three servers, up to date; ended with the block."""
    folder.mkdir(parents=True)
    cluster = NatsCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
