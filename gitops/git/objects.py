"""The mirror's object database: what is stored is read through libgit2, what is new waits in memory.

``keep`` writes all that is new as one synced pack, so whoever dies before leaves nothing and whoever dies after leaves
everything. Blocking; one instance belongs to one thread at a time.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pygit2

from gitops.git import pack

OWN = "own-"
"""How the packs written here are called: those alone hold whole objects only, and may be joined."""
MANY = 64
LARGE = 16 << 20
_KINDS = {number: kind for kind, number in pack.KINDS.items()}


class Objects:
    """Objects by their hexadecimal id."""

    def __init__(self, path: Path) -> None:
        self._packs = path / "objects" / "pack"
        self._fresh: dict[str, tuple[str, bytes]] = {}
        for left in (*self._packs.glob(f"{OWN}*.new"), *self._packs.glob(f"{OWN}*.pack")):
            if not left.with_suffix(".idx").exists():
                left.unlink()  # of a process that died while it wrote
        self.repo = pygit2.Repository(path)
        """What libgit2 knows: all but what is new."""
        self._odb = self.repo.odb

    def __contains__(self, oid: str) -> bool:
        return oid in self._fresh or oid in self._odb

    def read(self, oid: str) -> tuple[str, bytes]:
        """(commit, tree, blob or tag; bytes). Raises KeyError, and ValueError for what is no id."""
        if (found := self._fresh.get(oid)) is not None:
            return found
        number, data = self._odb.read(oid)
        return _KINDS.get(number, "tag"), data

    def write(self, kind: str, data: bytes) -> str:
        """Keep an object in memory; its id."""
        oid = hashlib.sha1(b"%s %d\x00" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()
        self._fresh[oid] = (kind, data)
        return oid

    def forget(self) -> None:
        """Drop what is new."""
        self._fresh.clear()

    def keep(self) -> None:
        """Write what is new as one pack, synced. Raises OSError."""
        if not self._fresh:
            return
        self._written({bytes.fromhex(oid): pack.entry(kind, data) for oid, (kind, data) in self._fresh.items()})
        self._fresh.clear()
        self._join()

    def _written(self, entries: dict[bytes, bytes]) -> None:
        """The index last: a pack is there for git once it has one."""
        packed, index = pack.pack(entries)
        name = OWN + packed[-20:].hex()
        _synced(self._packs / f"{name}.pack", packed)
        _synced(self._packs / f"{name}.idx", index)
        _sync_folder(self._packs)

    def _join(self) -> None:
        """Many small packs become one: every lookup asks each of them."""
        small = [one for one in self._packs.glob(f"{OWN}*.pack") if one.stat().st_size < LARGE]
        if len(small) < MANY:
            return
        joined: dict[bytes, bytes] = {}
        for one in small:
            joined |= pack.entries(one.read_bytes(), one.with_suffix(".idx").read_bytes())
        self._written(joined)
        for one in small:
            one.with_suffix(".idx").unlink()
            one.unlink()
        self.repo = pygit2.Repository(self.repo.path)  # the old one goes on looking into what was joined
        self._odb = self.repo.odb


def _synced(path: Path, data: bytes) -> None:
    part = path.with_suffix(".new")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(path)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
