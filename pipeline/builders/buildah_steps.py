"""The steps of a build, read from what buildah prints: ``STEP 2/5: RUN …`` and ``--> Using cache …``.

A step's own output could print the same. It would then be told under a wrong name, which decides nothing.
"""

from __future__ import annotations

import re
import time

import msgspec

from pipeline.build_log import BoundedLog
from pipeline.build_report import BuildReport, BuildStep, kept

_STEP = re.compile(rb"(?:\[\d+/\d+\] )?STEP \d+(?:/\d+)?: .+")
_CACHED = b"--> Using cache "


class Steps:
    """Stands before a log and notes the steps as they pass."""

    def __init__(self, output: BoundedLog) -> None:
        self._output = output
        self._steps: list[BuildStep] = []
        self._began = time.monotonic()

    async def write(self, stream: str, line: bytes) -> None:
        """Take one line of buildah's output (the shape of process.Sink)."""
        if _STEP.fullmatch(line[:1000]):
            self._settle()
            self._steps.append(BuildStep(name=self._output.masked(line[:1000].decode("utf-8", "replace"))))
            self._began = time.monotonic()
        elif line.startswith(_CACHED) and self._steps:
            self._steps[-1] = msgspec.structs.replace(self._steps[-1], cached=True)
        await self._output.write(stream, line, step=self._steps[-1].name[:80] if self._steps else "")

    def report(self, *, failed: bool = False) -> BuildReport:
        """What passed; with ``failed`` the last step is what failed."""
        self._settle()
        if failed and self._steps:
            self._steps[-1] = msgspec.structs.replace(self._steps[-1], failed=True)
        # FROM is only looked up, from a store that already has it
        steps = [msgspec.structs.replace(one, cached=True) if ": FROM " in one.name else one for one in self._steps]
        return BuildReport(steps=kept(steps), dropped=self._output.dropped)

    def _settle(self) -> None:
        if self._steps and not self._steps[-1].seconds:
            took = round(time.monotonic() - self._began, 3)
            self._steps[-1] = msgspec.structs.replace(self._steps[-1], seconds=took)
