"""A BuildKit builder as a worker has it, within tight limits, and what it printed."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import cgroup
from pipeline.build_log import LineSink, LogLine
from pipeline.builders import BuildFailed, BuildJob, Built, Limits, buildkit_daemon
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.buildkit_commands import Daemon
from pipeline.cgroup import Cage
from pipeline.errors import EncliiError

MIB = 1 << 20
TIGHT = Limits(seconds=120, stall=60, memory=96 * MIB, cpus=1, processes=64)
EPOCH = 1_700_000_000
NEVER_RAN = "runc run failed: container process is already dead"
"""Said by runc, rarely and on a busy machine, of a step that it did not get started; a step could print it too."""


class World:
    """One builder and what it printed."""

    def __init__(self, daemon: Daemon, registry: str, source: Path) -> None:
        self.daemon, self.registry, self.source = daemon, registry, source
        self.state = source.parent / "state"
        self.lines: list[LogLine] = []
        self.job = BuildJob(source, f"{registry}/shop/web", "run-1", EPOCH, plain_http=True)
        self.keep: LineSink = self._keep

    def build(self, text: str, *, limits: Limits = TIGHT, network: str = "private", **more: object) -> Built:
        (self.source / "Dockerfile").write_text(text)
        job = replace(self.job, **more)  # type: ignore[arg-type]
        try:
            return asyncio.run(self._build(job, limits, network))
        except BuildFailed as error:
            if NEVER_RAN not in error.message:
                raise
            self.lines.clear()
            return asyncio.run(self._build(job, limits, network))

    def failure(self, text: str, *, limits: Limits = TIGHT, **more: object) -> EncliiError:
        with pytest.raises(EncliiError) as caught:
            self.build(text, limits=limits, **more)
        assert list(self.state.iterdir()) == []
        return caught.value

    @property
    def text(self) -> bytes:
        return b"\n".join(line.text for line in self.lines)

    async def _build(self, job: BuildJob, limits: Limits, network: str) -> Built:
        facts = await buildkit_daemon.ask(self.daemon)
        version = cgroup.version()
        cage = Cage("enclii-bk-test", version) if version != "none" and os.geteuid() == 0 else None
        builder = Buildkit(self.daemon, facts, self.state, limits, network=network, cage=cage)
        await builder.sweep()
        try:
            return await builder.build(job, self.keep)
        finally:
            await builder.close()

    async def _keep(self, line: LogLine) -> None:
        self.lines.append(line)
