"""Ports of this machine on which no test can be reached: a rule of the firewall leads them to a container that is gone.

Podman leaves such rules behind when it is ended in the middle of its work, by a kill or by a test run that was broken
off. The system hands such a port out like any other, to a server that then starts, listens, and hears nothing.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator

from tests.support.components import find

RULE = re.compile(r"--dport (\d+) .*-j DNAT")
LIMIT = 60.0


def led_away() -> set[int]:
    """The ports that podman's rules lead elsewhere, those of containers that run too; none where nobody may look."""
    program = find("iptables")
    if program is None:
        return set()
    done = subprocess.run(
        (program, "-w", "-t", "nat", "-S"), capture_output=True, text=True, check=False, timeout=LIMIT
    )
    return {int(found[1]) for line in done.stdout.splitlines() if "NETAVARK" in line and (found := RULE.search(line))}


@contextlib.contextmanager
def kept_from_tests() -> Iterator[None]:
    """Hold those ports, so that the system gives none of them to a test."""
    with contextlib.ExitStack() as held:
        for port in led_away():
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # it is somebody's: that of a container that runs
                one.bind(("127.0.0.1", port))
        yield
