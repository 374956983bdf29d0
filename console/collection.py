"""The embedded registry's storage is freed: its own garbage collector runs while nobody can write.

Distribution collects safely only when nothing is uploaded. So the planner ends first, which begins all work; if nothing
is on its way then, the other writers and the registry end, the collector runs, and everything starts again. Whatever is
pushed meanwhile is accepted and waits; what runs goes on running.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from console import platform, ports, programs, supervise
from console.installation import addresses
from console.superseded import forget_superseded
from console.supervise import Files
from console.until import until
from pipeline import process
from pipeline.errors import Conflict, Unavailable

WRITERS: Final = ("builder", "signer", "committer")
COLLECT_LIMIT: Final = 900.0
QUIET_LIMIT: Final = 120.0
START_LIMIT: Final = 30.0
END_LIMIT: Final = 60.0


def is_here(home: Path) -> bool:
    """Whether the registry is the one that runs below ``home``, in the background."""
    try:
        return any(one.name == "registry" and one.running for one in platform.status(home))
    except Unavailable:
        return False


def collect(home: Path, *, quiet: Callable[[], bool]) -> dict[str, int]:
    """Bytes on the disk ``before`` and ``after``. ``quiet`` says whether no job is on its way.

    Raises Conflict when work goes on too long, Unavailable when the collector fails; everything runs again then.
    """
    home = home.absolute()
    with platform.at_work(home) as at, _ended_by_signal():
        if not until(quiet, QUIET_LIMIT, every=1.0):
            raise _busy()
        with _ended(home, at, ("planner",)):
            if not quiet():  # the last push that the planner took
                raise _busy()
            with _ended(home, at, (*WRITERS, "registry")):
                before = used(home)
                forget_superseded(home / "registry")
                asyncio.run(_collected(home))
                return {"before": before, "after": used(home)}


def used(home: Path) -> int:
    """Bytes that the registry's storage takes on the disk."""
    return sum(file.lstat().st_blocks * 512 for file in (home / "registry").rglob("*"))


async def _collected(home: Path) -> None:
    argv = (programs.registry(search=""), "garbage-collect", str(home / "registry.yml"))
    done = await process.run(argv, timeout=COLLECT_LIMIT, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-500:].decode("utf-8", "replace").strip()
        raise Unavailable(f"the registry's garbage collector failed: {said}", reason="collection_failed")


@contextlib.contextmanager
def _ended(home: Path, at: Files, names: tuple[str, ...]) -> Iterator[None]:
    """Without these programs for the block; they run again after it, however it ends."""
    running = supervise.end(at, names, limit=END_LIMIT)
    try:
        yield
    finally:
        supervise.begin(at, running)
        if "registry" in running:
            until(lambda: ports.answers(addresses(home).ports["registry"]), START_LIMIT)


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """TERM unwinds as an interruption does, so that what was ended is started again."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _busy() -> Conflict:
    return Conflict("jobs are on their way; free the storage later: enclii retention --apply", reason="busy")
