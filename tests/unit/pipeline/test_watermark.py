"""No build begins on a full disk, and caches are collected before anybody waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.build_log import LineSink
from pipeline.builders import BuildJob, Built, Facts
from pipeline.builders.choice import Chosen
from pipeline.errors import Unavailable
from pipeline.watermark import Watermark

EVERYTHING = 1 << 62


class Hoard:
    """A builder that only keeps a file, and gives it up when it is asked to."""

    facts = Facts("hoard", "1")

    def __init__(self, file: Path) -> None:
        self.file = file
        self.collected = asyncio.Event()
        self.file.write_text("cache")

    async def build(self, job: BuildJob, log: LineSink) -> Built:
        raise NotImplementedError

    async def sweep(self) -> None:
        raise NotImplementedError

    async def collect(self, max_bytes: int) -> None:
        if self.file.exists() and self.file.stat().st_size > max_bytes:
            self.file.unlink()
            self.collected.set()

    async def close(self) -> None:
        raise NotImplementedError


def test_with_room_a_build_begins_at_once_and_caches_stay(tmp_path: Path) -> None:
    hoard = Hoard(tmp_path / "cache")
    mark = Watermark(tmp_path, 0, EVERYTHING, Chosen({"dockerfile": hoard}))

    asyncio.run(mark.passed())
    asyncio.run(mark.check())

    assert hoard.file.exists()


def test_without_room_caches_go_and_intake_waits(tmp_path: Path) -> None:
    hoard = Hoard(tmp_path / "cache")
    mark = Watermark(tmp_path, EVERYTHING, EVERYTHING, Chosen({"dockerfile": hoard}))

    async def story() -> None:
        waits = asyncio.create_task(mark.passed())
        async with asyncio.timeout(5):
            await hoard.collected.wait()
        assert not waits.done()
        waits.cancel()

    asyncio.run(story())
    assert not hoard.file.exists()
    with pytest.raises(Unavailable) as caught:
        asyncio.run(mark.check())

    assert caught.value.reason == "build_disk_full"


def test_now_and_then_caches_are_brought_down_to_their_size(tmp_path: Path) -> None:
    hoard = Hoard(tmp_path / "cache")
    mark = Watermark(tmp_path, 0, 1, Chosen({"dockerfile": hoard}), builds_between=2)

    asyncio.run(mark.passed())
    assert hoard.file.exists()
    asyncio.run(mark.passed())

    assert not hoard.file.exists()
