"""The event store as one file, and back: every stream whole, verified by checksum, never a key.

The stages are paused while the streams are copied, each for a bounded time that the server ends by itself; a stream in
which something moved all the same is copied again. So whatever the copy says was done is in it. The stream of
deliveries goes before that of the records, as its work becomes records.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import json
import os
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from pipeline import copying
from pipeline.bus import Bus
from pipeline.copying import Copied
from pipeline.errors import Invalid, Refused, Unavailable

FORMAT: Final = 1
STREAMS: Final = ("HOOKS", "PIPE", "LOGS", "WEB", "LOGIN", "AUDIT")
"""In the order of copying. Leases are over when somebody reads a backup."""
LOOSE: Final = ("LOGS", "WEB", "LOGIN")
"""Nothing in them depends on anything else: what is written meanwhile may be in the copy or not."""
MANIFEST: Final = "manifest.json"
PAUSED: Final = 600.0
BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Backup:
    """What a file says of itself."""

    made_at: str
    version: str
    streams: tuple[Copied, ...]
    keys: Mapping[str, str]
    checksums: Mapping[str, str]


async def write(bus: Bus, file: Path, *, version: str, keys: Mapping[str, str], wait: float) -> Backup:
    """Copy the event store into ``file``, which appears whole and readable by its owner alone, or not at all.

    ``keys`` are references: what each is and its fingerprint. Stages have ``wait`` seconds to end what they have in
    hand. Raises Refused when something moves for longer, Unavailable, OSError.
    """
    draft = file.with_name(f".{file.name}.draft")
    with contextlib.ExitStack() as undo:
        undo.callback(draft.unlink, missing_ok=True)
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as sink:
            async with _paused(bus, wait):
                found = await _copied(bus, sink, draft.parent, version, keys, wait)
            sink.flush()
            os.fsync(sink.fileno())
        draft.replace(file)
    return found


async def _copied(
    bus: Bus, sink: IO[bytes], folder: Path, version: str, keys: Mapping[str, str], wait: float
) -> Backup:
    streams, sums = [], {}
    deadline = asyncio.get_running_loop().time() + wait
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name in STREAMS:
            piece = folder / f".{name}.snapshot"
            try:
                while True:
                    before = await copying.standing(bus, name)
                    if before is None:
                        break
                    sums[name] = await _snapshot(bus, name, piece)
                    if name in LOOSE or await copying.standing(bus, name) == before:
                        archive.add(piece, f"streams/{name}", filter=_plain)
                        break
                    if asyncio.get_running_loop().time() > deadline:
                        raise Refused(f"{name} kept moving for {wait:g} s: try --wait 15m", reason="busy")
                    await asyncio.sleep(0.2)
            finally:
                piece.unlink(missing_ok=True)
            if before is not None:
                streams.append(before[0])
        found = Backup(datetime.datetime.now(datetime.UTC).isoformat(), version, tuple(streams), keys, sums)
        _add(archive, MANIFEST, json.dumps(_document(found), indent=1).encode())
    return found


async def _snapshot(bus: Bus, name: str, file: Path) -> str:
    digest = hashlib.sha256()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as sink:
        async for piece in copying.snapshot(bus, name):
            digest.update(piece)
            sink.write(piece)
    return digest.hexdigest()


@contextlib.asynccontextmanager
async def _paused(bus: Bus, wait: float) -> AsyncIterator[None]:
    """No stage is handed anything within the block."""
    there = [name for name in ("HOOKS", "PIPE") if await copying.stream(bus, name) is not None]
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=wait + PAUSED)
    known = [(name, one) for name in there for one in await copying.consumers(bus, name)]
    try:
        for name, one in known:
            await copying.paused(bus, name, one, until)
        yield
    finally:
        for name, one in known:
            await copying.paused(bus, name, one, None)


def read(file: Path) -> Backup:
    """What the file holds, every byte of it verified.

    Raises Invalid for a file that is none or was changed, Refused for one of another version's form, OSError.
    """
    try:
        with tarfile.open(file) as archive:
            document = json.loads(_member(archive, MANIFEST).read())
            if document["format"] != FORMAT:
                newer = "newer" if int(document["format"]) > FORMAT else "older"
                text = f"the backup has the {newer} form {document['format']}, this Enclii reads {FORMAT}"
                raise Refused(f"{text}: use the version {document['version']}", reason=f"{newer}_backup")
            found = _backup(document)
            for name, wanted in found.checksums.items():
                digest = hashlib.sha256()
                for block in _blocks(archive, name):
                    digest.update(block)
                if digest.hexdigest() != wanted:
                    raise Invalid(f"{file}: {name} is not what was written", reason="bad_backup")
            return found
    except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError) as error:
        raise Invalid(f"{file} is no whole backup: {type(error).__name__}", reason="bad_backup") from error


async def restore(bus: Bus, file: Path, *, version: str) -> tuple[str, ...]:
    """Make the streams of ``file`` that are not there yet; their names. What another try restored is passed over.

    Raises as ``read`` does, Refused when the store holds something else or the backup is of a newer version, and
    Unavailable.
    """
    found = read(file)
    if _numbers(found.version) > _numbers(version):
        text = f"the backup was made by Enclii {found.version}, this is {version}"
        raise Refused(f"{text}: restore it with that version or a later one", reason="newer_backup")
    missing = []
    for one in found.streams:
        there = await copying.stream(bus, one.name)
        if there is not None and there.stands[0] and not _same(there, one):
            text = f"the event store is not empty: {one.name} has {there.stands[0]} messages of its own"
            raise Refused(f"{text}; nothing was changed", reason="not_empty")
        if there is None or not _same(there, one):
            missing.append((one, there is not None))
    with tarfile.open(file) as archive:
        for one, there_empty in missing:
            if there_empty:
                await copying.removed(bus, one.name)
            await copying.restore(bus, one, _blocks(archive, one.name))
            for consumer in await copying.consumers(bus, one.name):
                await copying.paused(bus, one.name, consumer, None)
            if (now := await copying.stream(bus, one.name)) is None or not _same(now, one):
                raise Unavailable(f"{one.name} did not come back whole: try again", reason="no_restore")
    return tuple(one.name for one, _ in missing)


def _same(there: Copied, one: Copied) -> bool:
    return there.stands == one.stands or (one.name in LOOSE and there.stands[2] >= one.stands[2] > 0)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _blocks(archive: tarfile.TarFile, name: str) -> Iterator[bytes]:
    source = _member(archive, f"streams/{name}")
    while block := source.read(BLOCK):
        yield block


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise KeyError(name)
    return found


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    import io

    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, io.BytesIO(data))


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _document(found: Backup) -> dict[str, Any]:
    return {
        "format": FORMAT, "version": found.version, "made_at": found.made_at, "keys": dict(found.keys),
        "checksums": dict(found.checksums),
        "streams": [{"name": one.name, "config": one.config, "state": one.state} for one in found.streams],
    }  # fmt: skip


def _backup(document: Mapping[str, Any]) -> Backup:
    streams = tuple(Copied(one["name"], one["config"], one["state"]) for one in document["streams"])
    names = {one.name for one in streams}
    if names != set(document["checksums"]) or not names <= set(STREAMS):
        raise KeyError("streams")
    return Backup(document["made_at"], document["version"], streams, document["keys"], document["checksums"])
