"""A service's sources as one deterministic archive: what the planner hands to the builder, by digest."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.source_export import ExportLimits, too_large

if TYPE_CHECKING:
    from pipeline.mirror import Mirror


def archive(mirror: Mirror, sha: str, path: str, *, limit: int) -> bytes:
    """The files of ``path`` at ``sha`` as an uncompressed tar; the same commit gives the same bytes.

    Raises Invalid for sources that may not be built from: links that lead outside, too many files, more than ``limit``
    bytes.
    """
    with tempfile.TemporaryDirectory(prefix="enclii-sources-") as room:
        tree = Path(room) / "tree"
        mirror.export(sha, path, tree, limits=ExportLimits(size=limit))
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as out:
            for file in sorted(tree.rglob("*")):
                out.add(file, arcname=str(file.relative_to(tree)), recursive=False, filter=_anonymous)
        if packed.tell() > limit:
            raise too_large(limit)
        return packed.getvalue()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
