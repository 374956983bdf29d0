"""Enclii in the kit's cluster: what a cluster of one node has to be given, and the overlay ``small`` on it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

from tests.support.components import needs
from tests.support.installing import enclii, made_secrets
from tests.support.kubernetes import KIT, found, kubectl
from tests.support.registry import running_registry

NODE = "198.18.0.1"
"""The node's address, where pods reach what listens on this machine's loopback."""
CLAIMS = ("data-nats-0", "state-githost-0")


@dataclass(frozen=True)
class Platform:
    """One installation: its namespace, and the registry as its pods reach it."""

    namespace: str
    registry: str

    def address(self, service: str) -> str:
        """A Service's, as this machine reaches it."""
        return f"http://{found(self.namespace, 'service', service)['spec']['clusterIP']}"

    def token(self, secret: str) -> str:
        return base64.b64decode(found(self.namespace, "secret", secret)["data"]["token"]).decode()

    def api(self, path: str) -> Any:
        header = {"Authorization": f"Bearer {self.token('enclii-api-token')}"}
        with urlopen(Request(self.address("console") + path, headers=header), timeout=60) as answer:
            return json.load(answer)

    def install(self, image: str, buildkit: str, *words: str) -> str:
        """Run ``enclii install``; what it says."""
        settings = {"REGISTRY": self.registry, "REGISTRY_PLAIN_HTTP": "true"}
        told = [word for name, value in settings.items() for word in ("--set", f"ENCLII_{name}={value}")]
        images = ("--image", f"{self.registry}/{image}", "--buildkit", f"{self.registry}/{buildkit}")
        done = enclii("install", "-n", self.namespace, "--beside", *images, *told, *words)
        return done.stdout + done.stderr


@contextlib.contextmanager
def prepared(folder: Path, registry: str) -> Iterator[Platform]:
    """A namespace with Secrets and disks for it; everything is gone afterwards, and what it deployed too."""
    made = Platform(f"platform-{uuid4().hex[:6]}", registry.replace("127.0.0.1", NODE))
    try:
        made_secrets(made.namespace)
        words = ("create", "secret", "generic", "enclii-registry", "--type", "kubernetes.io/dockerconfigjson")
        kubectl("-n", made.namespace, *words, '--from-literal=.dockerconfigjson={"auths":{}}')
        kubectl("apply", "-f", "-", stdin=json.dumps(volumes(made.namespace, folder)))
        yield made
    finally:
        remove(made.namespace)


def remove(namespace: str, *, services: bool = True) -> None:
    """As the runbook says, with the disks that were ours; ``services``: with what was deployed."""
    if services:
        kubectl("delete", "namespaces", "-l", f"enclii.dev/instance={namespace}", "--wait=false", check=False)
    kubectl("delete", "namespace", namespace, f"{namespace}-builds", "--timeout=110s", check=False)
    kubectl("delete", "clusterroles,clusterrolebindings", f"{namespace}-syncer", f"{namespace}-exec", check=False)
    kubectl("delete", "persistentvolumes", *(f"{namespace}-{claim}" for claim in CLAIMS), check=False)


def volumes(namespace: str, folder: Path) -> dict[str, Any]:
    """A directory of this machine for each claim, which nobody else's may take."""
    items = []
    for claim in CLAIMS:
        path = folder / claim
        path.mkdir(parents=True)
        os.chown(path, 65532, 65532)
        spec = {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": str(path)},
            "claimRef": {"namespace": namespace, "name": claim},
            "persistentVolumeReclaimPolicy": "Retain",
        }
        about = {"name": f"{namespace}-{claim}"}
        items.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": about, "spec": spec})
    return {"apiVersion": "v1", "kind": "List", "items": items}


@contextlib.contextmanager
def reachable_registry(folder: Path) -> Iterator[str]:
    """A registry on the loopback that pods and the node reach by the same port, over plain HTTP."""
    with running_registry(folder / "registry") as registry, forwarded(int(registry.rpartition(":")[2])):
        known = KIT.parent / "certs.d" / registry.replace("127.0.0.1", NODE)
        known.mkdir(parents=True)
        try:
            (known / "hosts.toml").write_text(f'[host."http://{known.name}"]\ncapabilities = ["pull", "resolve"]\n')
            yield registry
        finally:
            (known / "hosts.toml").unlink()
            known.rmdir()


@contextlib.contextmanager
def forwarded(port: int) -> Iterator[None]:
    """The node's address leads to this machine's loopback at the same port, while the context is open."""
    needs("kubernetes")
    with socket.create_server((NODE, port)) as door:
        accepting = threading.Thread(target=_accept, args=(door, port), daemon=True)
        accepting.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            accepting.join(60)


def _accept(door: socket.socket, port: int) -> None:
    """Until the door is shut; each connection is ended with it, so that no thread outlives the test."""
    open_ones: list[socket.socket] = []
    copying: list[threading.Thread] = []
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            while True:
                near = held.enter_context(door.accept()[0])
                far = held.enter_context(socket.create_connection(("127.0.0.1", port)))
                open_ones += (near, far)
                for pair in ((near, far), (far, near)):
                    copying.append(threading.Thread(target=_copy, args=pair, daemon=True))
                    copying[-1].start()
        for one in open_ones:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in copying:
            thread.join(60)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
