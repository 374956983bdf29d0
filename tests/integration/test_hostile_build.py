"""A build that means harm tries the platform around it by name: what it would find there, and that it finds nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from pipeline.build_log import LogLine
from pipeline.builders.buildah import sweep
from pipeline.builders.buildah_host import HostFacts, detect
from tests.integration.test_buildah import BASE, built, leftovers
from tests.support.answering import answering
from tests.support.components import needs
from tests.support.line import eventually
from tests.support.nats import running_nats
from tests.support.registry import running_registry

KEY = "the text of the signing key"
ATTACK = r"""
RUN PATH=/bin; found() { if "$@"; then echo reached $name; else echo refused $name; fi; }; \
  asked() { printf 'GET /v2/ HTTP/1.0\r\n\r\n' | busybox nc -w 2 $1 $2 >/o 2>/dev/null; [ -s /o ]; }; \
  for host in 127.0.0.1 10.0.2.2 $(busybox route -n | busybox awk '$1 == "0.0.0.0" {print $2}'); do TRIES; done; \
  name=key; found busybox grep -qs '^KEPT' FILE /proc/[0-9]*/root/FILE; \
  name=token; found busybox test -e /var/run/secrets/kubernetes.io -o -e /root/.kube; \
  name=neighbour; found busybox grep -qs '[n]ats-server' /proc/[0-9]*/cmdline
"""


@contextlib.contextmanager
def builder(state: Path) -> Iterator[HostFacts]:
    needs("buildah", "runc", "busybox")
    host = asyncio.run(detect(state))
    try:
        yield host
    finally:
        asyncio.run(sweep(host))
        shutil.rmtree(state)


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
        made.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
        return bool(made.recv(1))


def test_a_build_gets_neither_key_nor_nats_nor_registry_nor_cluster_nor_neighbour(tmp_path: Path) -> None:
    lines: list[str] = []
    (source := tmp_path / "source").mkdir()
    (key := tmp_path / "signing.key").write_text(KEY)
    shutil.copy(needs("busybox"), source / "busybox")

    async def keep(line: LogLine) -> None:
        lines.append(line.text.decode().strip())

    with (
        builder(tmp_path / "builder") as host, running_nats(tmp_path / "nats") as nats,
        running_registry(tmp_path / "registry") as registry, answering(lambda *_: (200, {})) as cluster,
    ):  # fmt: skip
        ports = {name: int(url.rpartition(":")[2]) for name, url in
                 (("nats", nats), ("registry", registry), ("cluster", cluster))}  # fmt: skip
        tries = "; ".join(f"name={name}; found asked $host {port}" for name, port in ports.items())
        step = ATTACK.replace("TRIES", tries).replace("KEPT", KEY).replace("FILE", str(key))
        built(source, BASE + step, host, registry, log=keep)
        heard = [answers(port) for port in ports.values()]
        left = leftovers(host)

    refused = {line.removeprefix("refused ") for line in lines if line.startswith("refused ")}
    assert refused == {"nats", "registry", "cluster", "key", "token", "neighbour"}
    assert [line for line in lines if line.startswith("reached ")] == []
    assert heard == [True, True, True], "outside of a build each of them answers the same words"
    assert left == []


LISTENS = "RUN PATH=/bin; busybox ip address show; busybox nc -l -p 7777 -e busybox echo heard\n"
AROUND = r"""
RUN PATH=/bin; tried() { if printf x | busybox nc -w 3 $2 $3; then echo reached $1; else echo refused $1; fi; }; \
  tried neighbour ADDRESS 7777; tried metadata 169.254.169.254 80; tried metadata6 fd00:ec2::254 80; \
  for net in 169.254.0.0/16 NETWORK; do busybox ip route del unreachable $net || echo refused routes; done
"""


def test_a_build_gets_neither_the_machines_metadata_nor_its_neighbours_ports(tmp_path: Path) -> None:
    lines: list[str] = []

    async def keep(line: LogLine) -> None:
        lines.append(line.text.decode().strip())

    with (
        builder(tmp_path / "one") as first, builder(tmp_path / "two") as second,
        running_registry(tmp_path / "registry") as registry, neighbour(tmp_path, first, registry) as (address, network),
    ):  # fmt: skip
        step = AROUND.replace("ADDRESS", address).replace("NETWORK", network)
        built(source(tmp_path / "attack"), BASE + step, second, registry, log=keep)
        heard = eventually(lambda: asked(address), what="the neighbour listens")

    assert [line for line in lines if line.startswith("reached ")] == []
    assert lines.count("refused routes") == 2
    assert {"refused neighbour", "refused metadata", "refused metadata6"} <= set(lines)
    assert heard == b"heard\n", "the machine itself reaches the neighbour by the same words"


def asked(address: str) -> bytes:
    with socket.create_connection((address, 7777), timeout=60) as made:
        return made.recv(10)


@contextlib.contextmanager
def neighbour(tmp: Path, host: HostFacts, registry: str) -> Iterator[tuple[str, str]]:
    """Another build that listens, in another builder's rooms, until somebody asks: its address and its network."""
    said: list[str] = []

    async def keep(line: LogLine) -> None:
        said.append(line.text.decode())

    folder = source(tmp / "neighbour")
    building = threading.Thread(target=lambda: built(folder, BASE + LISTENS, host, registry, tag="n", log=keep))
    building.start()
    try:
        own = eventually(
            lambda: re.search(r"inet (?!127\.)([0-9.]+/[0-9]+)", "\n".join(said)), what="it has an address"
        )
        interface = ipaddress.ip_interface(own[1])
        yield str(interface.ip), str(interface.network)
    finally:
        building.join(120)


def source(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(needs("busybox"), folder / "busybox")
    return folder
