"""A git tree as a directory for a build: no history, no way out, and the same bytes and times for the same commit.

Regular files are written before any link exists, so that no write can pass through one.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import pygit2

from pipeline.errors import Invalid

MAX_DEPTH = 100


@dataclass(frozen=True)
class ExportLimits:
    """What a build context may be at most."""

    files: int = 100_000
    size: int = 2 << 30


@dataclass(frozen=True)
class Exported:
    """What was written; ``warnings`` are sentences for the build log."""

    files: int
    size: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    path: str
    mode: int
    id: pygit2.Oid


def export_tree(
    repository: pygit2.Repository, tree: pygit2.Tree, into: Path, *, time: int, limits: ExportLimits
) -> Exported:
    """Write ``tree`` into ``into``, which must not exist. Raises Invalid, and then leaves nothing."""
    into.mkdir(mode=0o755, parents=True)
    try:
        return _write(repository, tree, into, time, limits)
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


def _write(repository: pygit2.Repository, tree: pygit2.Tree, into: Path, time: int, limits: ExportLimits) -> Exported:
    entries = _checked(tree, limits)
    links = [entry for entry in entries if entry.mode == pygit2.enums.FileMode.LINK]
    targets = {entry.path: _link_target(repository, entry) for entry in links}
    warnings = []
    size = 0
    for entry in entries:
        place = into / entry.path
        if entry.mode == pygit2.enums.FileMode.TREE:
            place.mkdir(mode=0o755)
        elif entry.mode == pygit2.enums.FileMode.COMMIT:
            place.mkdir(mode=0o755)
            warnings.append(f"{entry.path}: a submodule, left empty")
        elif entry.path not in targets:
            size += _write_file(repository, entry, place, written=size, limit=limits.size)
    for path, target in targets.items():
        (into / path).symlink_to(target)
    _set_times(into, entries, time)
    return Exported(sum(e.mode != pygit2.enums.FileMode.TREE for e in entries), size, tuple(warnings))


def _checked(tree: pygit2.Tree, limits: ExportLimits) -> list[_Entry]:
    entries: list[_Entry] = []
    for entry in _walk(tree, "", 0):
        entries.append(entry)
        if len(entries) > limits.files:
            raise Invalid(f"the service's path holds more than {limits.files} files", reason="source_too_large")
    return entries


def too_large(limit: int) -> Invalid:
    """The error for sources of more than ``limit`` bytes."""
    text = f"the service's path holds more than {limit >> 20} MiB; ENCLII_BUILD_CONTEXT bounds what a build is given"
    return Invalid(text, reason="source_too_large")


def _walk(tree: pygit2.Tree, prefix: str, depth: int) -> Iterator[_Entry]:
    if depth > MAX_DEPTH:
        raise Invalid(f"{prefix[:200]}: nested more than {MAX_DEPTH} deep", reason="source_too_large")
    for entry in tree:
        name = str(entry.name)
        if name in ("", ".", "..") or "/" in name or name.lower() == ".git":
            raise Invalid(f"{prefix}{name}: not a name for a file", reason="bad_source_name")
        yield _Entry(prefix + name, int(entry.filemode), entry.id)
        if isinstance(entry, pygit2.Tree):
            yield from _walk(entry, f"{prefix}{name}/", depth + 1)


def _write_file(repository: pygit2.Repository, entry: _Entry, place: Path, *, written: int, limit: int) -> int:
    if written + _blob(repository, entry).size > limit:
        raise too_large(limit)
    data = _blob(repository, entry).data
    mode = 0o755 if entry.mode == pygit2.enums.FileMode.BLOB_EXECUTABLE else 0o644
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
    return len(data)


def _link_target(repository: pygit2.Repository, entry: _Entry) -> str:
    """The link's target, if it stays inside; ``..`` behind a name is refused, for that name may be a link itself."""
    blob = _blob(repository, entry)
    target = os.fsdecode(blob.data) if 0 < blob.size <= 4096 else ""
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), target or "/"))
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = ".." in dropwhile(lambda part: part == "..", parts)
    if inside.startswith(("/", "../")) or inside == ".." or "\0" in target or climbs:
        raise Invalid(f"{entry.path}: a symbolic link that leads out of the service's path", reason="source_link")
    return target


def _blob(repository: pygit2.Repository, entry: _Entry) -> pygit2.Blob:
    found = repository.get(entry.id)
    if not isinstance(found, pygit2.Blob):
        raise Invalid(f"{entry.path}: not a file", reason="bad_objects")
    return found


def _set_times(into: Path, entries: list[_Entry], time: int) -> None:
    for entry in reversed(entries):
        os.utime(into / entry.path, (time, time), follow_symlinks=False)
    os.utime(into, (time, time))
