"""The lifecycle's phases as steps, read from its own lines: ``===> DETECTING`` and so on."""

from __future__ import annotations

import re
import time

import msgspec

from pipeline.build_log import BoundedLog
from pipeline.build_report import BuildReport, BuildStep, kept

_PHASE = re.compile(rb"(?:\[creator\] )?===> ([A-Z]+)\s*")


class Steps:
    """Stands before a log and notes the phases as they pass (the shape of process.Sink)."""

    def __init__(self, output: BoundedLog, *, builder: str) -> None:
        self._output = output
        self._builder = builder
        self._steps: list[BuildStep] = []
        self._began = time.monotonic()

    async def write(self, stream: str, line: bytes) -> None:
        """Take one line of the creator's output."""
        line = line.rstrip(b"\r")
        if found := _PHASE.fullmatch(line):
            self._settle()
            self._steps.append(BuildStep(name=f"[{found[1].decode().lower()}]"))
            self._began = time.monotonic()
        await self._output.write(stream, line, step=self._steps[-1].name if self._steps else "")

    def report(self, *, failed: bool = False) -> BuildReport:
        """What passed; with ``failed`` the last phase is what failed."""
        self._settle()
        if failed and self._steps:
            self._steps[-1] = msgspec.structs.replace(self._steps[-1], failed=True)
        return BuildReport(builder=self._builder, steps=kept(self._steps), dropped=self._output.dropped)

    def _settle(self) -> None:
        if self._steps and not self._steps[-1].seconds:
            took = round(time.monotonic() - self._began, 3)
            self._steps[-1] = msgspec.structs.replace(self._steps[-1], seconds=took)
