"""Marks sources so that a shared daemon takes none of their files for another build's.

BuildKit keeps the last sources that it was sent and asks only for files whose size or time differs; buildctl gives all
builds of a daemon the same place. A commit's time is its author's to choose, so a fork could have its files built into
the branch, and two commits of one second are enough for an accident. So the time of every file has a part below the
second that stands for the whole of the sources, by a key that nobody else knows. All files have the same, so that make
sees none newer than another; the image has whole seconds only.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from pipeline.errors import Refused

SECOND = 1_000_000_000
KEY_BYTES = 32


def own_key(file: Path) -> bytes:
    """The key in ``file``, made at the first start: whole, or not there, whoever else makes it at the same moment."""
    if not file.exists():
        descriptor, made = tempfile.mkstemp(prefix=".", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(secrets.token_bytes(KEY_BYTES))
                opened.flush()
                os.fsync(opened.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(made, file)
        finally:
            Path(made).unlink()
    key = file.read_bytes()
    if len(key) != KEY_BYTES:
        raise Refused(f"{file} is no key of {KEY_BYTES} bytes: delete it, and it is made anew", reason="bad_key")
    return key


def fraction(key: bytes, source: str) -> int:
    """Nanoseconds that stand for ``source``; without one, for nothing that was before."""
    if not source:
        return secrets.randbelow(SECOND)
    return int.from_bytes(hmac.digest(key, source.encode(), "sha256")[:8]) % SECOND


def mark(context: Path, *, seconds: int, nanoseconds: int) -> None:
    """Give everything below ``context`` this time."""
    at = seconds * SECOND + nanoseconds
    for folder, folders, files in os.walk(context):
        for name in (*folders, *files):
            os.utime(Path(folder, name), ns=(at, at), follow_symlinks=False)
