"""Which ports Enclii listens on: the documented ones where they are free, the next free ones where not.

What was taken is kept in a file and taken again at the next start, because git remotes and image names hold it.
"""

from __future__ import annotations

import contextlib
import socket
import tomllib
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Final

from pipeline.errors import Unavailable

LOOPBACK: Final = "127.0.0.1"
PREFERRED: Final = {
    "nats": 7042,
    "nats_monitor": 7043,
    "registry": 7050,
    "console": 7080,
    "githost": 7081,
    "receiver": 7082,
    "door": 7088,
    "receiver_ops": 7101,
    "githost_ops": 7102,
    "planner_ops": 7103,
    "builder_ops": 7104,
    "signer_ops": 7105,
    "committer_ops": 7106,
    "syncer_ops": 7107,
    "door_ops": 7108,
    "console_ops": 7109,
    "forge_ops": 7110,
}
MEANING: Final = {
    "nats": "NATS",
    "nats_monitor": "NATS' own monitoring page",
    "registry": "the image registry",
    "console": "the API",
    "githost": "git over HTTP",
    "receiver": "webhooks",
    "door": "the services, by host name",
    **{
        f"{name.removesuffix('_ops')}_ops": f"health and metrics of the {name[:-4]}"
        for name in PREFERRED
        if name[-4:] == "_ops"
    },
}
PINNED: Final = ("registry",)
"""Never moved once taken: every image name in the config repository holds this port."""
SPAN: Final = 500


def choose(kept: Mapping[str, int], free: Callable[[int], bool]) -> dict[str, int]:
    """A port for each name: the kept one if it is free, else the preferred one or the first free one above it.

    Raises Unavailable when a pinned port was taken by somebody else, or when no port is free.
    """
    chosen: dict[str, int] = {}
    for name, preferred in PREFERRED.items():
        if name in PINNED and name in kept and not free(kept[name]):
            raise Unavailable(
                f"port {kept[name]} is in use, and deployed images are named by it: stop what listens there ({name})",
                reason="port_taken",
            )
        others = {kept.get(other, PREFERRED[other]) for other in PREFERRED if other != name} | set(chosen.values())
        chosen[name] = _first_free(kept.get(name, preferred), others, free)
    return chosen


def _first_free(first: int, others: Set[int], free: Callable[[int], bool]) -> int:
    for port in range(first, min(first + SPAN, 65_536)):
        if port not in others and free(port):
            return port
    raise Unavailable(f"no port from {first} to {first + SPAN} is free", reason="no_free_port")


def is_free(port: int) -> bool:
    """True if this machine lets us listen on ``port``, on loopback and on every address alike."""
    for address in (LOOPBACK, ""):
        with contextlib.closing(socket.socket()) as probe:
            # A connection that lingers in TIME_WAIT from our own last run does not make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def answers(port: int) -> bool:
    """True if something accepts connections on loopback's ``port``."""
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def read(file: Path) -> dict[str, int]:
    """The ports that were taken before; none when there is no file or it is not ours."""
    try:
        found = tomllib.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {name: port for name, port in found.items() if name in PREFERRED and type(port) is int and 0 < port < 65_536}


def render(chosen: Mapping[str, int]) -> str:
    """The file's text."""
    return "".join(f"{name} = {port}  # {MEANING[name]}\n" for name, port in chosen.items())
