"""Enclii on one machine: started, asked, ended and removed, all from one state folder.

One start or end is at work at a time, and one supervisor for each state folder; a start on top of a running one changes
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from console import attached, credentials, ports, programs, residue, supervise
from console.installation import (
    AMBIENT,
    Addresses,
    addresses,
    environment,
    home_of,
    instance_of,
    prepare,
    token,
)
from console.supervise import Files, Program, State
from console.until import until
from pipeline import durability
from pipeline.errors import Conflict, EncliiError, Unavailable
from pipeline.settings import PREFIX, PROCESSES, Settings

__all__ = [
    "Addresses",
    "addresses",
    "down",
    "environment",
    "foreground",
    "home_of",
    "not_ready",
    "status",
    "token",
    "up",
]

LOCK_LIMIT: Final = 90.0
STORES_LIMIT: Final = 30.0
END_LIMIT: Final = 90.0
READY_LIMIT: Final = 2.0


def up(home: Path, *, environ: Mapping[str, str], enclii: Sequence[Program] | None = None) -> Addresses:
    """Start everything in the background, the stores first; returns when the stores answer.

    A second call changes nothing and says so. ``enclii`` replaces Enclii's own processes.
    """
    home = home.absolute()
    with _locked(home, create=True):
        at = _files(home)
        if supervise.alive(at):
            known = addresses(home)
            for group in (supervise.STORES, supervise.ENCLII):  # who was killed while it had ended some, left them so
                supervise.start_group(at, group)
            return Addresses(home, known.instance, known.ports, already_up=True)
        _await_orphans(home)
        found = prepare(home, environ=environ)
        asyncio.run(_start(home, environ, enclii))
        return found


async def _start(home: Path, environ: Mapping[str, str], enclii: Sequence[Program] | None) -> None:
    at = _files(home)
    own = enclii
    if own is None:
        own = programs.processes({name: environment(home, name, environ=environ) for name in programs.needed(home)})
    all_programs = (*await programs.stores(home, search=environ.get("PATH", "")), *own)
    credentials.write(at.config, supervise.render(all_programs, at, cwd=home))
    await supervise.start(at, env={name: environ[name] for name in AMBIENT if name in environ})
    supervise.start_group(at, supervise.STORES)
    found = addresses(home).ports
    if not await asyncio.to_thread(
        until, lambda: ports.answers(found["nats"]) and ports.answers(found["registry"]), STORES_LIMIT
    ):
        supervise.stop(at, limit=END_LIMIT)
        raise Unavailable(f"NATS or the registry did not start: see {at.logs}", reason="stores_failed")
    try:
        await _demand_durability(home, environ)
    except EncliiError:
        supervise.stop(at, limit=END_LIMIT)
        raise
    supervise.start_group(at, supervise.ENCLII)


async def _demand_durability(home: Path, environ: Mapping[str, str]) -> None:
    """Each process would refuse by itself, again and again; said here, it is said once and where somebody looks."""
    given = {k: v for k, v in environment(home, "githost", environ=environ).items() if k.startswith(PREFIX)}
    told = Settings.from_env(given, process="githost")
    await durability.demand_nats(told.nats_monitor_url, told.durability)
    await durability.demand_git(told.durability)


def foreground(home: Path, *, environ: Mapping[str, str], terminal: bool) -> int:
    """Run everything in the foreground until one process ends or somebody says so; returns the exit code.

    Raises Conflict when it already runs, here or in the background.
    """
    home = home.absolute()
    with _locked(home, create=True):
        if supervise.alive(_files(home)):
            raise Conflict(f"Enclii already runs in the background of {home}: enclii down", reason="already_up")
        _await_orphans(home)
        prepare(home, environ=environ)
        told = dict(environ) if not terminal else {"ENCLII_LOG_FORMAT": "text", **environ}
        own = programs.processes({name: environment(home, name, environ=told) for name in programs.needed(home)})
        all_programs = (*asyncio.run(programs.stores(home, search=environ.get("PATH", ""))), *own)
        return attached.run(all_programs, env={name: environ[name] for name in AMBIENT if name in environ}, cwd=home)


def status(home: Path) -> tuple[State, ...]:
    """How each process is. Raises Unavailable when nothing runs in the background."""
    return supervise.status(_files(home.absolute()))


@contextlib.contextmanager
def at_work(home: Path) -> Iterator[Files]:
    """Supervisor's files, while no start or end is at work. Raises Unavailable when nothing runs in the background."""
    with _locked(home):
        at = _files(home)
        supervise.status(at)
        yield at


def not_ready(home: Path, *, limit: float) -> tuple[str, ...]:
    """The processes whose ``/readyz`` does not say yes within ``limit`` seconds."""
    at = addresses(home)
    waiting = set(programs.needed(home))

    def all_ready() -> bool:
        waiting.difference_update([name for name in waiting if _is_ready(at.ports[f"{name}_ops"])])
        return not waiting

    until(all_ready, limit)
    return tuple(name for name in PROCESSES if name in waiting)


def down(home: Path, *, purge: bool = False) -> bool:
    """End everything that ``up`` started, services included; False when there was nothing.

    With ``purge`` also remove what they made: containers, networks, pulled images, the state folder itself.
    """
    home = home.absolute()
    if not instance_of(home):
        return False
    with _locked(home):
        supervise.stop(_files(home), limit=END_LIMIT)
        _await_orphans(home)
        asyncio.run(_remove(home, purge=purge))
    return True


async def _remove(home: Path, *, purge: bool) -> None:
    instance = instance_of(home)
    await residue.end_services(instance=instance, home=home)
    if not purge:
        return
    found = ports.read(home / "ports.toml")
    if "registry" in found:
        await residue.forget(instance=instance, home=home, registry=f"{ports.LOOPBACK}:{found['registry']}")
    await residue.delete(home)


def _await_orphans(home: Path) -> None:
    """A supervisor that was killed leaves its file, and its programs, told by the kernel, may still be draining."""
    at = _files(home)
    if at.pid.exists() and not supervise.alive(at):
        until(lambda: all(map(ports.is_free, ports.read(home / "ports.toml").values())), END_LIMIT)
        at.pid.unlink(missing_ok=True)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=READY_LIMIT)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _files(home: Path) -> Files:
    return supervise.files(home, instance=instance_of(home), runtime=Path(tempfile.gettempdir()))


@contextlib.contextmanager
def _locked(home: Path, *, create: bool = False) -> Iterator[None]:
    """One start or end at a time. Raises Conflict when another takes too long."""
    held: list[int] = []

    def locked() -> bool:
        if create:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
        held.extend(_lock(home / "lock"))
        return bool(held)

    if not until(locked, LOCK_LIMIT):
        raise Conflict(f"another start or end is at work in {home}", reason="busy")
    try:
        yield
    finally:
        os.close(held[0])


def _lock(file: Path) -> tuple[int, ...]:
    """The lock's handle, or nothing: held by another, or deleted by the purge that held it before us."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == file.stat().st_ino:
            return (handle,)
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return ()
