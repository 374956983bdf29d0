"""The ports on which services are published, beside a firewall that leads one of them to a container that is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from gitops.clusters.podman_host import PORTS, free_ports
from tests.support.components import absent, needs

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
CHOOSING = """
import fcntl, socket, struct, subprocess, sys
from gitops.clusters.podman_host import free_ports
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
rule = "-t nat -A OUTPUT -p tcp --dport 21000 -j DNAT --to-destination 127.0.0.1:9"
subprocess.run((sys.argv[1], *rule.split()), check=True)
print(free_ports(1, range(21000, 21002)))
"""


def test_a_port_that_a_forgotten_rule_leads_elsewhere_is_not_free() -> None:
    if os.geteuid() != 0:
        absent("only root has a firewall of its own to try it in")
    argv = (needs("unshare"), "--net", sys.executable, "-c", CHOOSING, needs("iptables"))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.stdout == "[21001]\n", done.stderr


def test_ports_differ_and_lie_where_services_are_published() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(port in PORTS for port in found)


def test_a_port_can_be_taken_as_soon_as_it_was_found() -> None:
    for port in free_ports(20):
        with socket.socket() as taken:  # as podman takes it: without the option to take over what just ended
            taken.bind(("127.0.0.1", port))
            taken.listen(1)
