"""Sources are unpacked as they were packed, and never beyond the directory that they are for."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import Invalid
from pipeline.unpacking import unpack

FILE, LINK, HARD, DIRECTORY, DEVICE = (
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.DIRTYPE,
    tarfile.CHRTYPE,
)
Member = tuple[str, bytes, str]
"""Name, kind, and what a link leads to."""


def packed(*members: Member, mode: int = 0o644, mtime: int = 1_700_000_000) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, target in members:
            one = tarfile.TarInfo(name)
            one.type, one.linkname, one.mode, one.mtime = kind, target, mode, mtime
            body = b"text" if kind == FILE else b""
            one.size = len(body)
            archive.addfile(one, io.BytesIO(body))
    return out.getvalue()


def test_files_directories_and_links_come_out_with_their_dates(tmp_path: Path) -> None:
    unpack(packed(("a", DIRECTORY, ""), ("a/file", FILE, ""), ("a/link", LINK, "file"), mode=0o755), tmp_path / "room")

    assert (tmp_path / "room/a/link").read_bytes() == b"text"
    assert (tmp_path / "room/a").stat().st_mtime == (tmp_path / "room/a/file").stat().st_mtime == 1_700_000_000


def test_no_bit_is_kept_that_gives_rights(tmp_path: Path) -> None:
    unpack(packed(("file", FILE, ""), mode=0o7777), tmp_path)

    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([("../out", FILE, "")], id="above"),
        pytest.param([("/tmp/out", FILE, "")], id="absolute"),  # noqa: S108 - refused, never written
        pytest.param([("link", LINK, "../out")], id="link-above"),
        pytest.param([("link", LINK, "/etc/passwd")], id="link-absolute"),
        pytest.param([("a", LINK, "."), ("a/../../out", FILE, "")], id="through-a-link"),
        pytest.param([("a", LINK, "a"), ("a/file", FILE, "")], id="link-to-itself"),
        pytest.param([("file", FILE, ""), ("hard", HARD, "file")], id="hard-link"),
        pytest.param([("device", DEVICE, "")], id="device"),
    ],
)
def test_what_leads_outside_or_is_no_file_is_refused(tmp_path: Path, members: list[Member]) -> None:
    room = tmp_path / "deep" / "room"
    room.mkdir(parents=True)

    with pytest.raises(Invalid) as refused:
        unpack(packed(*members), room)

    assert refused.value.reason == "source_refused"
    assert not (tmp_path / "deep" / "out").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be unpacked"):
        unpack(b"no archive" * 100, tmp_path)
