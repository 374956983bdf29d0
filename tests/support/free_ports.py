"""Ports for servers that a test starts later: kept apart from every other test's, and from what the system gives away.

Between the choice and the server's start nobody holds a port. One that the system has chosen may be its next choice for
somebody else, an outgoing connection included; these lie below that range, and each process of the tests has its own.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from typing import Final

FIRST: Final = 11_000
EACH: Final = 700
PARTS: Final = 10


def free_port() -> int:
    """A port of the loopback on which nobody listens, and which this process is not given again soon."""
    return next(port for port in _numbers if _is_free(port))


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    return [free_port() for _ in range(count)]


def _part() -> range:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")
    start = FIRST + int(worker) % PARTS * EACH
    return range(start, start + EACH)


def _turning(part: range) -> Iterator[int]:
    """Its numbers without end; two runs beside each other begin at different ones."""
    begin = os.getpid() % len(part)
    return itertools.cycle([*part[begin:], *part[:begin]])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_numbers = _turning(_part())
