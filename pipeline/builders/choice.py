"""Which builder builds what: by configuration and by what is there, with the reason said aloud.

``auto`` takes the first of BuildKit, docker buildx and buildah that works, and keeps why the ones before it did not.
One that is named must work, or the process does not start: a build is never done by something else than was asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
import pwd
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import cgroup
from pipeline.build_report import BuilderState
from pipeline.builders import Builder, Kind, Limits
from pipeline.builders.buildkit_commands import Daemon, checked_address
from pipeline.cgroup import Cage
from pipeline.errors import EncliiError, Refused, Unavailable
from pipeline.events import BuildRequested, Event
from pipeline.process import SEARCH_PATH, CommandFailed, CommandTimeout, run
from pipeline.registries import registries_of
from pipeline.settings import Settings
from pipeline.store import Change, Step, Store, now
from pipeline.turns import PREVIEWS

log = logging.getLogger(__name__)

SOCKETS = (Path("/run/buildkit/buildkitd.sock"),)
PROBE_LIMIT = 30.0
ORDER = ("buildkit", "buildx", "buildah")


@dataclass(frozen=True)
class Chosen:
    """The builder of each kind, and the sentences that say why this one and not another."""

    by_kind: dict[Kind, Builder] = field(default_factory=dict)
    why: tuple[str, ...] = ()

    def builders(self) -> tuple[Builder, ...]:
        return tuple(dict.fromkeys(self.by_kind.values()))

    def problems(self) -> tuple[str, ...]:
        found = (f"{one.facts.name}: {text}" for one in self.builders() for text in one.facts.problems)
        return tuple(dict.fromkeys(found))


def limits_of(told: Settings) -> Limits:
    """What one build may use, as the settings say."""
    return Limits(
        seconds=told.build_timeout, stall=told.build_stall, memory=told.build_memory, cpus=told.build_cpus,
        processes=told.build_processes, disk=told.build_disk, log_head=told.build_log,
    )  # fmt: skip


async def choose(told: Settings, room: Path) -> Chosen:
    """Look at what is there. Raises Unavailable when what was asked for does not work, or nothing does."""
    makers: dict[str, Callable[[Settings, Path], Awaitable[Builder]]] = {
        "buildkit": _buildkit, "buildx": _buildx, "buildah": _buildah,
    }  # fmt: skip
    names = ORDER if told.builder == "auto" else (told.builder,)
    accounts = registries_of(told).accounts.told()
    why: list[str] = []
    for name in names:
        try:
            found = await makers[name](told, room)
        except EncliiError as error:
            if told.builder != "auto":
                raise
            why.append(f"not {name}: {error.message}")
            continue
        packs, told_packs = await _buildpacks(told, room)
        asked = "ENCLII_BUILDER=auto took it" if told.builder == "auto" else f"ENCLII_BUILDER={name} asks for it"
        by_kind: dict[Kind, Builder] = {"dockerfile": found, **({"buildpacks": packs} if packs else {})}
        return Chosen(by_kind, (f"Dockerfiles are built by {found.facts}: {asked}", *why, told_packs, accounts))
    raise Unavailable("nothing here can build: " + "; ".join(why), reason="no_builder")


def listed_images(told: Settings) -> tuple[str, ...]:
    """The Buildpacks builder images that the operator lets run, the default first."""
    return tuple(one.strip() for one in told.buildpacks_builders.split(",") if one.strip())


async def announce(chosen: Chosen, told: Settings, store: Store) -> None:
    """Tell everybody, in the log and as a record, what this process builds with and why."""
    for line in chosen.why:
        log.info("%s", line)
    for problem in chosen.problems():
        log.warning("%s", problem)
    names = {kind: str(builder.facts) for kind, builder in chosen.by_kind.items()}
    state = BuilderState(
        worker=f"{told.instance}/{platform.node()}", dockerfiles=names.get("dockerfile", ""),
        buildpacks=names.get("buildpacks", ""), why=chosen.why, problems=chosen.problems(), at=now(),
    )  # fmt: skip
    await store.commit(Step((Change(state, None),)))


async def sweep(chosen: Chosen, contexts: Path) -> None:
    """Remove what a killed worker left: processes, containers, mounts, groups, unpacked sources."""
    for builder in chosen.builders():
        await builder.sweep()
    await asyncio.to_thread(shutil.rmtree, contexts, ignore_errors=True)


def share(event: Event) -> str:
    """Turns are divided among repositories, whose previews take none from their pushes."""
    if not isinstance(event, BuildRequested):
        return ""
    return event.repository if event.trust == "main" else f"{event.repository}{PREVIEWS}"


async def _buildkit(told: Settings, room: Path) -> Builder:
    from pipeline.builders import buildkit_daemon
    from pipeline.builders.buildkit import Buildkit

    tls = told.below_home(Path(told.buildkit_tls)) if told.buildkit_tls else None
    address = told.buildkit_host or next((f"unix://{one}" for one in SOCKETS if one.exists()), "")
    if not address:
        raise Unavailable("ENCLII_BUILDKIT_HOST is not set and no daemon has its socket", reason="buildkit_away")
    daemon = Daemon(_program(told.buildctl, "buildctl"), checked_address(address, tls), tls)
    facts = await buildkit_daemon.ask(daemon)
    state = room / "buildkit"
    state.mkdir(mode=0o700, exist_ok=True)
    cage = cage_of(address, room) if daemon.local and not facts.rootless else None
    return Buildkit(
        daemon, facts, state, limits_of(told), network=told.build_network, cage=cage, slots=told.build_slots,
        problems=_daemons_own(told),
    )  # fmt: skip


async def _buildx(told: Settings, room: Path) -> Builder:
    from pipeline.builders import buildx_commands
    from pipeline.builders.buildkit import Buildkit
    from pipeline.builders.buildkit_daemon import DaemonFacts, checked_version

    tool = buildx_commands.Buildx(_program("", "docker"), Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".docker")
    done = await run(tool.inspect(), timeout=PROBE_LIMIT, env=tool.around, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().partition("\n")[0]
        raise Unavailable(f"docker buildx does not answer: {said[:200]}", reason="buildx_away")
    version, platforms = buildx_commands.told(done.stdout.decode("utf-8", "replace"))
    facts = DaemonFacts(checked_version(version, ""), platforms, "private", rootless=False)
    state = room / "buildkit"
    state.mkdir(mode=0o700, exist_ok=True)
    return Buildkit(
        tool, facts, state, limits_of(told), network=told.build_network, cage=None, slots=told.build_slots,
        problems=(*_daemons_own(told), "memory and processors of a build are bounded by docker's daemon alone"),
    )  # fmt: skip


def _daemons_own(told: Settings) -> tuple[str, ...]:
    """What BuildKit takes from its own configuration alone."""
    if not told.registry_mirrors and not told.plain_http_registries:
        return ()
    text = "the daemon pulls by its own buildkitd.toml: mirrors and plain HTTP of other registries must stand there too"
    return (text,)


async def _buildah(told: Settings, room: Path) -> Builder:
    from pipeline.builders import buildah_pool

    if told.build_isolation == "rootless":
        raise Refused("build_isolation=rootless is not available with this buildah", reason="bad_settings")
    return await buildah_pool.open_pool(
        room, slots=told.build_slots,
        isolation="chroot" if told.build_isolation == "chroot" else "oci",
        network="none" if told.build_network == "none" else "private", limits=limits_of(told),
        registries=registries_of(told),
    )  # fmt: skip


async def _buildpacks(told: Settings, room: Path) -> tuple[Builder | None, str]:
    """The Buildpacks builder, or None, and why. Raises Unavailable when it was asked for and does not work."""
    listed = listed_images(told)
    if told.buildpacks == "off" or (told.buildpacks == "auto" and not listed):
        return None, "no Buildpacks: " + (
            "ENCLII_BUILDPACKS=off" if told.buildpacks == "off" else "ENCLII_BUILDPACKS_BUILDERS lists no image"
        )
    if not listed:
        raise Unavailable("ENCLII_BUILDPACKS_BUILDERS lists no image", reason="no_builder_image")
    makers = {"creator": _creator, "pack": _pack}
    why = []
    for name in makers if told.buildpacks == "auto" else (told.buildpacks,):
        try:
            found = await makers[name](told, room, listed)
        except EncliiError as error:
            if told.buildpacks != "auto":
                raise
            why.append(f"not by {name}: {error.message}")
            continue
        return found, "; ".join((f"Buildpacks are run by {found.facts}: ENCLII_BUILDPACKS={told.buildpacks}", *why))
    return None, "no Buildpacks: " + "; ".join(why)


async def _creator(told: Settings, room: Path, listed: tuple[str, ...]) -> Builder:
    from pipeline.builders import buildah_host
    from pipeline.builders.lifecycle import Lifecycle

    version = await _podman_version()
    host = await buildah_host.detect(room / "buildpacks", registries=registries_of(told))
    return Lifecycle(host, limits_of(told), listed=listed, version=version)


async def _pack(told: Settings, room: Path, listed: tuple[str, ...]) -> Builder:
    from pipeline.builders.pack import Pack, Tool

    program = _program("", "pack")
    done = await run((program, "version"), timeout=PROBE_LIMIT, env={"HOME": str(room)})
    tool = Tool(program, done.stdout.decode("utf-8", "replace").strip()[:40], told.docker_host)
    return Pack(tool, limits_of(told), room / "pack", listed=listed, registries=registries_of(told))


async def _podman_version() -> str:
    try:
        done = await run(("podman", "--version"), timeout=PROBE_LIMIT)
    except (CommandFailed, CommandTimeout) as error:
        raise Unavailable("podman is not installed", reason="podman_missing") from error
    return done.stdout.decode().split()[-1]


def _program(told: str, name: str) -> str:
    found = shutil.which(told or name, path=SEARCH_PATH)
    if found is None:
        raise Unavailable(f"{told or name} is not installed", reason=f"{name}_missing")
    return found


def cage_of(address: str, room: Path) -> Cage | None:
    """One group for all builds that this builder has a daemon on this machine do, of the same name in each start.

    Another builder on the same daemon has a group of its own: who starts ends what is left in its group.
    """
    version = cgroup.version()
    if version == "none" or os.geteuid() != 0:
        return None
    whose = f"{address}\0{room.resolve()}"
    return Cage("enclii-bk-" + hashlib.sha256(whose.encode()).hexdigest()[:12], version)
