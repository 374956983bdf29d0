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
from pathlib import Path

SECOND = 1_000_000_000


def own_key(file: Path) -> bytes:
    """The key in ``file``, made at the first start."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as made:
            made.write(secrets.token_bytes(32))
    return file.read_bytes()


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
