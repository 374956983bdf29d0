"""The configuration of the NATS servers in a cluster, as ``manifests/platform`` holds it: made of what the code needs.

``python -m console.installing.nats`` writes it again after the rights of a process have changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from console import nats_config
from console.installing.rendering import MANIFESTS
from console.nats_config import Member, Reference, Tls

STORE: Final = "/var/lib/nats"
FILES: Final = Tls("/etc/nats/tls/tls.crt", "/etc/nats/tls/tls.key", "/etc/nats/tls/ca.crt")
SERVERS: Final = {"base": 1, "overlays/ha": 3}
"""How many servers there are by the configuration in a folder of ``manifests/platform``."""


def text(servers: int) -> str:
    """What each of so many servers is told; its own name is that of its pod."""
    routes = [f"nats-{number}.nats:6222" for number in range(servers)] if servers > 1 else []
    return nats_config.member(Member(Reference("POD_NAME"), routes=routes, store=STORE), tls=FILES)


def path(folder: str) -> Path:
    """The file in one of SERVERS."""
    return MANIFESTS / "platform" / folder / "nats.conf"


if __name__ == "__main__":
    for name, count in SERVERS.items():
        path(name).write_text(text(count))
