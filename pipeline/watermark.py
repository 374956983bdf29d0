"""No build begins on a disk that is nearly full: caches are collected first, and if that is not enough intake waits."""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.builders.choice import Chosen
from pipeline.errors import EncliiError, Unavailable

log = logging.getLogger(__name__)

PAUSE = 10.0


@dataclass
class Watermark:
    """``free``: bytes that must be free below ``path``; ``keep``: bytes that builders may keep between builds."""

    path: Path
    free: int
    keep: int
    chosen: Chosen
    builds_between: int = 20
    _since: int = 0

    async def passed(self) -> None:
        """Return as soon as a build may begin."""
        self._since += 1
        if self._since >= self.builds_between:
            self._since = 0
            await self._collect(self.keep)
        while self._missing():
            log.warning("less than %d MiB are free: no build begins until there is room", self.free >> 20)
            await self._collect(0)
            if self._missing():
                await asyncio.sleep(PAUSE)

    async def check(self) -> None:
        """For readiness. Raises Unavailable while intake waits."""
        if self._missing():
            raise Unavailable(f"less than {self.free >> 20} MiB are free for builds", reason="build_disk_full")

    def _missing(self) -> bool:
        return shutil.disk_usage(self.path).free < self.free

    async def _collect(self, keep: int) -> None:
        for builder in self.chosen.builders():
            try:
                await builder.collect(keep)
            except EncliiError as error:
                log.warning("%s: its cache was not collected: %s", builder.facts.name, error)
