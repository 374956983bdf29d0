"""The OCI runtime behind a wall: what a RUN line's network leads to is cut before its first process begins.

buildah makes the container, gives it a network, and asks the runtime to start it. In between is the moment to take out
of the container's own routes what a build has no business with: link-local addresses, where clouds keep the machine's
credentials, and the machine's other containers, which are other builds and services. A step lacks the capability to
put a route back. The gateway stays, and with it the internet and the networks beyond.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

LINK_LOCAL: Final = "169.254.0.0/16"
LINK_LOCAL_6: Final = "fe80::/10 fd00:ec2::254/128"
"""The second is where Amazon keeps the same in IPv6."""

_SCRIPT: Final = """\
#!/bin/sh
# Written by Enclii; buildah calls it as the runtime: FLAGS COMMAND CONTAINER. It fails rather than leave a way open.
set -eu
runtime={runtime} root={root} busybox={busybox}
verb='' container=''
for word; do verb=$container container=$word; done
[ "$verb" = start ] || exec "$runtime" "$@"

routes() {{ "$busybox" ip route show; }}
inside() {{ "$busybox" nsenter -t "$pid" -n "$busybox" "$@"; }}
pid=$("$runtime" --root "$root" state "$container" | "$busybox" sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p')
own=$(inside ip route show | "$busybox" awk '$2 == "dev" {{print $1}}')
bridges=$(routes | "$busybox" awk '$2 == "dev" && $3 ~ /^(podman|cni-podman)[0-9]+$/ {{print $1}}')

inside ip route show | "$busybox" awk '$1 == "default" {{print $3, $5}}' | while read -r gateway device; do
  inside ip route add "$gateway" dev "$device"
done
for net in $own; do inside ip route del "$net"; done
for net in $(printf '%s\\n' {link_local} $own $bridges | "$busybox" sort -u); do
  inside ip route add unreachable "$net"
done
if [ -e /proc/sys/net/ipv6 ]; then
  inside ip -6 route show | "$busybox" awk '$1 ~ /^fe80:/ {{print $1, $3}}' | while read -r net device; do
    inside ip -6 route del "$net" dev "$device"
  done
  for net in {link_local_6}; do inside ip -6 route add unreachable "$net"; done
fi
exec "$runtime" "$@"
"""


def write(file: Path, *, runtime: str, root: Path, busybox: str) -> None:
    """Write the program that goes before ``runtime``, whose state is below ``root``."""
    told = {"runtime": runtime, "root": str(root), "busybox": busybox}
    quoted = {name: shlex.quote(text) for name, text in told.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(_SCRIPT.format(**quoted, link_local=LINK_LOCAL, link_local_6=LINK_LOCAL_6))
    fresh.chmod(0o700)
    fresh.replace(file)
