"""Unpacks a service's sources, which come as one tar, into a directory that nothing of them leaves.

The rules are those of ``tarfile.tar_filter`` and those of its ``data_filter`` for links and kinds, which Python has
from 3.11.4 on; Debian 12 has 3.11.2.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import Invalid

PERMITTED = 0o755
"""What of a mode is kept: no set-id and sticky bits, nothing that others may write."""


def unpack(data: bytes, room: Path) -> None:
    """Raises Invalid for an archive that would write, or link, outside of ``room``, or that is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extraction_filter = _as_it_is  # a newer Python asks which rules hold: ours
            archive.extractall(room, members=_checked(archive, room.resolve()))  # noqa: S202 - each member is checked
    except tarfile.TarError as error:
        raise Invalid(f"the sources cannot be unpacked: {error}", reason="source_refused") from error


def _as_it_is(member: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
    return member


def _checked(archive: tarfile.TarFile, room: Path) -> Iterator[tarfile.TarInfo]:
    """Each member when its turn comes: what an earlier one linked counts for a later one's place."""
    for member in archive:
        place = room / member.name
        _within(place, room, member)
        if member.issym():
            _within(place.parent / member.linkname, room, member)
        elif not (member.isreg() or member.isdir()):
            raise _refused(member, "is no file, directory or symbolic link")
        member.mode &= PERMITTED
        yield member


def _within(place: Path, room: Path, member: tarfile.TarInfo) -> None:
    try:
        inside = place.resolve().is_relative_to(room)
    except (OSError, RuntimeError, ValueError):  # a link to itself, a name with a zero byte
        inside = False
    if not inside:
        raise _refused(member, "leads outside")


def _refused(member: tarfile.TarInfo, why: str) -> Invalid:
    return Invalid(f"the sources cannot be unpacked: {member.name[:200]!r} {why}", reason="source_refused")
