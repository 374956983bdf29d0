"""What podman must be told on this host, measured; on a usual machine with systemd that is nothing.

The text goes into Enclii's own state folder and to podman by environment; no file of the system is written.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import shutil
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from gitops.clusters import Finding
from pipeline.errors import Unavailable

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 30_000)
"""Where services are published: below what Linux gives to programs that take any port, and Kubernetes to its nodes."""
REACH_LIMIT = 0.5
"""Seconds; the kernel answers for a listener by itself, however busy the machine is."""
SYS_RESOURCE = 24
USUAL_FILES = 1_048_576
USUAL_PROCESSES = 32_768
"""Podman lowers its own limit to this many before it starts a container; asking for more then fails."""


@dataclass(frozen=True)
class Host:
    """The facts of a machine that decide how podman has to be configured."""

    systemd: bool
    unified_cgroups: bool
    runc: bool
    rootless: bool
    may_raise_limits: bool
    files: int
    processes: int


def measure(root: Path = Path("/")) -> Host:
    """Look at this machine."""
    return Host(
        systemd=(root / "run/systemd/system").is_dir(),
        unified_cgroups=(root / "sys/fs/cgroup/cgroup.controllers").is_file(),
        runc=shutil.which("runc", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") is not None,
        rootless=os.getuid() != 0,
        may_raise_limits=_may_raise(root),
        files=_hard(resource.RLIMIT_NOFILE, USUAL_FILES),
        processes=_hard(resource.RLIMIT_NPROC, USUAL_PROCESSES),
    )


def containers_conf(host: Host) -> str | None:
    """The configuration that this host needs, or None when podman's own will do."""
    engine = []
    if not host.systemd:
        engine += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    if not host.unified_cgroups and host.runc:
        engine.append('runtime = "runc"')  # crun fails where cgroups v1 and v2 are mixed
    parts = [] if not engine else ["[engine]", *engine]
    if not host.rootless and not host.may_raise_limits:  # rootless, podman itself keeps to the limits that it has
        limits = f'"nofile={host.files}:{host.files}", "nproc={host.processes}:{host.processes}"'
        parts += ["[containers]", f"default_ulimits = [{limits}]"]
    return "\n".join(parts) + "\n" if parts else None


def write_configuration(folder: Path, host: Host | None = None) -> Path | None:
    """Write what this host needs into ``folder``; the path, or None when nothing is needed."""
    text = containers_conf(host or measure())
    if text is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "containers.conf"
    draft = folder / f"containers.conf.{os.getpid()}"
    draft.write_text(text)
    draft.replace(path)
    return path


def environment(containers: Path | None, registries: Path | None) -> dict[str, str]:
    """The environment of every podman call: home and run folder of the user, and our configuration if any."""
    env = {"HOME": pwd.getpwuid(os.getuid()).pw_dir}
    run_folder = Path(f"/run/user/{os.getuid()}")
    if os.getuid() != 0 and run_folder.is_dir():
        env["XDG_RUNTIME_DIR"] = str(run_folder)
    if containers is not None:
        env["CONTAINERS_CONF"] = str(containers)
    if registries is not None:
        env["CONTAINERS_REGISTRIES_CONF"] = str(registries)
    return env


def limits_work(info: Mapping[str, object]) -> bool:
    """Whether this podman can limit memory and CPU: without delegated controllers a limited container never starts."""
    host = info.get("host")
    if not isinstance(host, Mapping):
        return False
    if not host.get("security", {}).get("rootless"):
        return True
    return {"memory", "cpu"} <= set(host.get("cgroupControllers") or ())


def findings(info: Mapping[str, object]) -> list[Finding]:
    """What ``doctor`` says about ``podman info``."""
    host, store, version = (info.get(key) or {} for key in ("host", "store", "version"))
    assert isinstance(host, Mapping)
    assert isinstance(store, Mapping)
    assert isinstance(version, Mapping)
    number = str(version.get("Version", "0"))
    rootless = bool(host.get("security", {}).get("rootless"))
    driver = str(store.get("graphDriverName"))
    found = [
        Finding("ok", "podman", f"version {number}")
        if _major(number) >= 4
        else Finding("error", "podman", f"version {number}; 4.0 or newer is needed", "install podman 4.0 or newer"),
        Finding("ok", "podman user", "rootless" if rootless else "runs as root"),
        Finding("ok", "podman cgroups", f"{host.get('cgroupVersion')}, {host.get('cgroupManager')}"),
        Finding(
            "warning" if driver == "vfs" else "ok",
            "podman storage",
            f"{driver}: a full copy of the image for each container" if driver == "vfs" else driver,
            'podman system reset, then driver = "overlay" in storage.conf' if driver == "vfs" else "",
        ),
    ]
    if not limits_work(info):
        text = "no memory or cpu controller: resources are not enforced"
        found.append(
            Finding("warning", "podman limits", text, "run as root, or delegate the memory and cpu controllers")
        )
    return found


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


def _hard(kind: int, ceiling: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)


def _may_raise(root: Path) -> bool:
    for line in (root / "proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> SYS_RESOURCE & 1)
    return False


def free_ports(count: int, among: range = PORTS) -> list[int]:
    """Ports that nobody listens on and that lead to who does; held together so that they differ, given back just before
    podman asks. Raises Unavailable.

    None of those that the system hands out itself. Podman leads a published port to its container by a rule of the
    firewall, and one that was ended in the middle leaves the rule behind: whichever program was given that port by the
    system later would listen there and never be reached.
    """
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for port in SystemRandom().sample(among, len(among)):
            if len(found) == count:
                break
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind((LOOPBACK, port))
                one.listen(1)
                if reached(one):
                    found.append(port)
    if len(found) < count:
        raise Unavailable(f"no port from {among[0]} to {among[-1]} is free", reason="no_free_port", delay=5.0)
    return found


def reached(listener: socket.socket) -> bool:
    """Whether a connection to a loopback port arrives at who listens there: it may be led elsewhere."""
    listener.settimeout(REACH_LIMIT)
    with socket.socket() as probe:
        probe.settimeout(REACH_LIMIT)
        try:
            probe.connect(listener.getsockname())
            arrived, came_from = listener.accept()
        except OSError:
            return False
        # Broken off, or the system would keep the port for a minute after the connection, and podman be refused it.
        arrived.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        arrived.close()
        return bool(came_from == probe.getsockname())  # and not somebody else, while ours went to another listener
