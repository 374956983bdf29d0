"""How much disk a directory holds, and a watch that ends what lets it grow too far."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path

INTERVAL = 0.25
SHARE = 4
"""The watch may look for at most a fourth of the time: a large tree is looked at less often."""


class DiskLimit(Exception):
    """A directory grew past its limit, or the file system is nearly full."""


def usage(path: Path) -> int:
    """Bytes on disk below ``path``, each file once, without other file systems mounted there."""
    try:
        device = path.stat().st_dev
    except OSError:
        return 0
    total, seen, todo = 0, set[int](), [str(path)]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_dev != device or status.st_ino in seen:
                        continue
                    if status.st_nlink > 1:
                        seen.add(status.st_ino)
                    total += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total


async def watch(path: Path, *, growth: int, keep_free: int) -> None:
    """Look again and again, until cancelled. Raises DiskLimit past ``growth``, or below ``keep_free``."""
    before = await asyncio.to_thread(usage, path)
    while True:
        started = time.monotonic()
        if shutil.disk_usage(path).free < keep_free:
            raise DiskLimit(f"less than {keep_free >> 20} MiB are free on the builder's disk")
        if await asyncio.to_thread(usage, path) - before > growth:
            raise DiskLimit(f"the build wrote more than {growth >> 20} MiB")
        await asyncio.sleep(max(INTERVAL, SHARE * (time.monotonic() - started)))
