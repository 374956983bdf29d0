"""Two builders on one BuildKit daemon."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from pipeline.build_log import LogLine
from pipeline.builders import BuildJob, buildkit_daemon
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.buildkit_commands import Daemon
from pipeline.builders.choice import cage_of
from tests.support.buildkit import running_buildkitd
from tests.support.buildkit_world import EPOCH, TIGHT
from tests.support.components import needs
from tests.support.registry import running_registry

BASE = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"


def test_a_builder_that_starts_on_the_same_daemon_ends_no_build_of_another(tmp_path: Path) -> None:
    """Each has a group of its own, by which it clears up, and each build its own bound of memory."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(needs("busybox"), source / "busybox")
    (source / "Dockerfile").write_text(BASE + "RUN echo ready; /bin/busybox sleep 3; echo ended by itself\n")

    async def story(daemon: Daemon, registry: str, one: Path, other: Path) -> tuple[list[bytes], bool]:
        facts = await buildkit_daemon.ask(daemon)
        lines: list[bytes] = []
        begun = asyncio.Event()

        async def keep(line: LogLine) -> None:
            lines.append(line.text)
            if line.text == b"ready":
                begun.set()

        first, second = (
            Buildkit(daemon, facts, place, TIGHT, network="private", cage=cage_of(daemon.address, place))
            for place in (one, other)
        )
        await first.sweep()
        building = asyncio.create_task(
            first.build(BuildJob(source, f"{registry}/a/b", "r", EPOCH, plain_http=True), keep)
        )
        await asyncio.wait_for(begun.wait(), 60)
        await second.sweep()
        await building
        await first.close()
        await second.close()
        return lines, cage_of(daemon.address, one) == cage_of(daemon.address, one)

    with running_buildkitd() as daemon, running_registry(tmp_path / "registry") as registry:
        lines, same = asyncio.run(story(daemon, registry, tmp_path / "one", tmp_path / "other"))

    assert b"ended by itself" in lines
    assert same, "what a killed builder left is found at its next start"
