"""Where a backup is made and restored: this machine's installation, or an event store that was named."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console import backup as files
from console import credentials, installation, platform, ports, programs
from console.backup import Backup
from console.until import until
from pipeline import process
from pipeline.bus import Bus, connect
from pipeline.errors import Invalid, Refused, Unavailable
from pipeline.needs import BACKUP
from pipeline.rights import rights_of

CONNECT_LIMIT: Final = 10.0
START_LIMIT: Final = 60.0
KEYS: Final = ("*.pub", "*.pem")


@dataclass(frozen=True)
class Place:
    """The state folder of this machine's Enclii, or a server's address with what it takes to be let in."""

    home: Path
    nats: str = ""
    ca: Path | None = None
    password_file: Path | None = None

    @property
    def here(self) -> bool:
        return not self.nats


def version() -> str:
    """Of this Enclii."""
    return importlib.metadata.version("enclii")


def backup(place: Place, file: Path, *, wait: float) -> Backup:
    """Write ``file``. Raises as backup.write does, and Unavailable when nothing answers."""

    async def run() -> Backup:
        async with _opened(place) as bus:
            return await files.write(bus, file, version=version(), keys=_references(place.home), wait=wait)

    return asyncio.run(run())


def restore(place: Place, file: Path, *, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Restore ``file``; the names of the streams that were made.

    This machine's Enclii must be down: only its NATS is started meanwhile. Raises as backup.restore does.
    """
    files.read(file)
    if not place.here:
        return asyncio.run(_restored(place, file))
    with contextlib.suppress(Unavailable):
        platform.status(place.home)
        raise Refused("Enclii runs and would write meanwhile: enclii down, then restore", reason="still_up")
    place.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    installation.prepare(place.home.absolute(), environ={})
    return asyncio.run(_restored_here(place, file, environ.get("PATH", "")))


async def _restored_here(place: Place, file: Path, search: str) -> tuple[str, ...]:
    (server,) = (one for one in await programs.stores(place.home.absolute(), search=search) if one.name == "nats")
    port = installation.addresses(place.home.absolute()).ports["nats"]
    nothing = process.Streams(None, asyncio.subprocess.DEVNULL, asyncio.subprocess.DEVNULL)
    argv = process.orphan_proof(server.argv)
    async with process.started(argv, cwd=place.home, env=None, streams=nothing, grace=START_LIMIT):
        if not await asyncio.to_thread(until, lambda: ports.answers(port), START_LIMIT):
            raise Unavailable("NATS did not start", reason="stores_failed")
        return await _restored(place, file)


async def _restored(place: Place, file: Path) -> tuple[str, ...]:
    async with _opened(place) as bus:
        return await files.restore(bus, file, version=version())


@contextlib.asynccontextmanager
async def _opened(place: Place) -> AsyncIterator[Bus]:
    secret = place.password_file or (place.home / "secrets" / credentials.nats(BACKUP) if place.here else None)
    if secret is None:
        raise Invalid("--nats needs --password-file too", reason="bad_usage")
    try:
        password = credentials.read(secret)
    except OSError as error:
        raise Unavailable(f"{secret} cannot be read: enclii up -d makes it", reason="not_up") from error
    url = place.nats or installation.addresses(place.home.absolute()).nats
    bus = await connect(
        url, name="backup", user=BACKUP, password=password, ca=str(place.ca or ""), rights=rights_of(BACKUP),
        wait=CONNECT_LIMIT,
    )  # fmt: skip
    try:
        yield bus
    finally:
        await bus.close()


def _references(home: Path) -> dict[str, str]:
    """The public halves of the keys that the installation signs and verifies with, by their fingerprints."""
    found = [one for pattern in KEYS for one in sorted((home / "keys").glob(pattern)) if one.is_file()]
    return {one.name: f"sha256:{hashlib.sha256(one.read_bytes()).hexdigest()}" for one in found if _public(one)}


def _public(file: Path) -> bool:
    return b"PRIVATE" not in file.read_bytes()
