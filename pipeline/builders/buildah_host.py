"""What this machine can do for builds: found out once at start, never assumed, and shown by ``doctor``.

One value, HostFacts, then says everything that the builder needs to know of the machine and of its own directory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import cgroup
from pipeline.builders import walled_runtime
from pipeline.builders.buildah_commands import Isolation, Network, Sandbox, Store
from pipeline.builders.registries_conf import registries_conf
from pipeline.cgroup import Cage
from pipeline.errors import Unavailable
from pipeline.process import SEARCH_PATH, CommandFailed, orphan_proof, run
from pipeline.registries import Registries

OLDEST = (1, 28)
INFO_LIMIT = 30.0
_NETAVARK = tuple(Path(place) for place in ("/usr/lib/podman/netavark", "/usr/libexec/podman/netavark"))
_CNI = tuple(Path(place) for place in ("/usr/lib/cni/bridge", "/usr/libexec/cni/bridge", "/opt/cni/bin/bridge"))
_CONTAINERS_CONF = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024"]
[network]
network_backend = "{backend}"
"""


@dataclass(frozen=True)
class HostFacts:
    """One worker's directory and what the machine lets it do; ``problems`` are sentences for ``doctor``."""

    state: Path
    version: tuple[int, ...]
    driver: str
    runtime: str
    rootless: bool
    cgroups: cgroup.Version
    isolation: Isolation
    network: Network
    problems: tuple[str, ...] = ()
    registries: Registries = field(default_factory=Registries, compare=False)
    busybox: str = ""  # empty: no wall can or need be drawn

    @property
    def store(self) -> Store:
        return Store(self.state / "storage", self.state / "run", self.driver)

    @property
    def scratch(self) -> Path:
        """For what one build needs and the next must not see: temporary files, mounted caches, runtime state."""
        return self.state / "scratch"

    @property
    def cage(self) -> Cage:
        return Cage("enclii-" + hashlib.sha256(str(self.state).encode()).hexdigest()[:16], self.cgroups)

    @property
    def sandbox(self) -> Sandbox:
        parent = "" if self.cgroups == "none" else self.cage.inside
        runtime = str(self.wall) if self.busybox else self.runtime
        return Sandbox(self.isolation, runtime, self.scratch / "runtime", self.network, parent)

    @property
    def wall(self) -> Path:
        """What goes before the runtime where there is a ``busybox`` for it."""
        return self.state / "walled-runtime"

    @property
    def environment(self) -> Mapping[str, str]:
        """The whole environment of every buildah: no home, no login, no proxy; its own configuration files."""
        return {
            "CONTAINERS_CONF": str(self.state / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.state / "registries.conf"),
            "HOME": str(self.scratch / "home"),
            "TMPDIR": str(self.scratch / "tmp"),
            "XDG_RUNTIME_DIR": str(self.scratch / "xdg"),
        }

    def prepare(self) -> None:
        """Make the worker's directories and the configuration that buildah reads; safe to repeat."""
        for directory in (self.state, self.scratch, *(self.scratch / name for name in ("home", "tmp", "xdg"))):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        backend = "netavark" if _first(_NETAVARK) else "cni"
        (self.state / "containers.conf").write_text(_CONTAINERS_CONF.format(backend=backend))
        (self.state / "registries.conf").write_text(registries_conf(self.registries))
        if self.busybox:
            walled_runtime.write(self.wall, runtime=self.runtime, root=self.scratch / "runtime", busybox=self.busybox)


async def detect(
    state: Path, *, isolation: Isolation = "oci", network: Network = "private", registries: Registries | None = None
) -> HostFacts:
    """Look at the machine. ``isolation`` and ``network`` are what the settings grant; less may be possible.

    Raises Unavailable when nothing can be built here.
    """
    state = await asyncio.to_thread(state.resolve)
    version = await _version()
    groups = cgroup.version()
    runtime = _runtime(groups)
    if isolation == "oci" and not runtime:
        raise Unavailable("no OCI runtime: install runc", reason="runtime_missing")
    possible: Network = network if network == "none" or _private_network() else "none"
    wall = _for_a_wall(isolation, possible)
    facts = HostFacts(
        state=state,
        version=version,
        driver="overlay",
        runtime=runtime,
        rootless=os.geteuid() != 0,
        cgroups=groups,
        isolation=isolation,
        network=possible,
        problems=tuple(_problems(groups, isolation, asked=network, possible=possible, busybox=wall)),
        registries=registries or Registries(),
        busybox=wall,
    )
    facts.prepare()
    return facts if await _overlay_works(facts) else _with_vfs(facts)


def _problems(groups: str, isolation: Isolation, *, asked: Network, possible: Network, busybox: str) -> list[str]:
    found = []
    if isolation == "chroot":
        found.append("builds see this machine's processes and network (chroot isolation): build trusted sources only")
    if groups == "none" or isolation == "chroot":
        found.append("memory, CPU and number of processes of a build are not bounded: no control group can be made")
    if isolation == "oci" and possible == "private" and not busybox and os.geteuid() == 0:
        found.append("builds reach the machine's containers and a cloud's metadata: install busybox-static")
    if asked != possible:
        found.append("builds have no network: neither netavark nor the CNI bridge plugin is installed")
    return found


async def _version() -> tuple[int, ...]:
    try:
        done = await run(("buildah", "--version"), timeout=INFO_LIMIT)
    except CommandFailed as error:
        raise Unavailable("buildah is not installed", reason="buildah_missing") from error
    found = re.search(rb"version ([0-9]+)\.([0-9]+)", done.stdout)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST:
        raise Unavailable("buildah is older than 1.28", reason="buildah_too_old")
    return version


def _runtime(groups: cgroup.Version) -> str:
    """runc with version 1 and hybrid groups, which crun does not manage; either with version 2."""
    unified = (cgroup.ROOT / "cgroup.controllers").exists()
    names = ("crun", "runc") if unified and groups != "v1" else ("runc",)
    return next((path for name in names if (path := shutil.which(name, path=SEARCH_PATH))), "")


def _private_network() -> bool:
    if os.geteuid() != 0:
        return shutil.which("slirp4netns", path=SEARCH_PATH) is not None
    return _first(_NETAVARK) is not None or _first(_CNI) is not None


def _for_a_wall(isolation: Isolation, network: Network) -> str:
    """The busybox that cuts a step's routes. Without root each step has a network of its own, that of slirp4netns."""
    needed = os.geteuid() == 0 and isolation == "oci" and network == "private"
    return (shutil.which("busybox", path=SEARCH_PATH) or "") if needed else ""


def _first(places: tuple[Path, ...]) -> Path | None:
    return next((place for place in places if place.exists()), None)


async def _overlay_works(facts: HostFacts) -> bool:
    argv = orphan_proof(facts.store.command("info"))
    done = await run(argv, timeout=INFO_LIMIT, env=facts.environment, check=False)
    return done.returncode == 0


def _with_vfs(facts: HostFacts) -> HostFacts:
    """A store remembers its first driver, so what the failed look at overlay made must go."""
    shutil.rmtree(facts.store.root, ignore_errors=True)
    told = "overlay mounts do not work here: each layer is a full copy (vfs), slow and large"
    return HostFacts(**{**vars(facts), "driver": "vfs", "problems": (*facts.problems, told)})
