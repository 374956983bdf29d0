"""A worker that dies in the middle of a BuildKit build."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from pipeline.builders import BuildJob
from pipeline.builders.buildkit_commands import Daemon

WORKER = """
import asyncio, sys
from pathlib import Path
from pipeline.builders import BuildJob, Limits, buildkit_daemon
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.buildkit_commands import Daemon

async def tell(line):
    print(line.text.decode(), flush=True)

async def main():
    program, address, state, source, repository = sys.argv[1:]
    daemon = Daemon(program, address)
    facts = await buildkit_daemon.ask(daemon)
    builder = Buildkit(daemon, facts, Path(state), Limits(), network="private", cage=None)
    await builder.sweep()
    await builder.build(BuildJob(Path(source), repository, "run-1", 0, plain_http=True), tell)

asyncio.run(main())
"""


async def kill_worker_at(line: bytes, daemon: Daemon, *, state: Path, job: BuildJob) -> None:
    """Let a process of its own build ``job``, and kill it as soon as the build has printed ``line``."""
    argv = (daemon.program, daemon.address, str(state), str(job.context), job.repository)
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, *argv, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    async with asyncio.timeout(120):
        while await worker.stdout.readline() != line + b"\n":
            assert not worker.stdout.at_eof()
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
