"""``log.memory``: how much the worker grows while a step of a real build prints 100 MB.

The worker is a process of its own, so that what is measured is its memory alone: the most it ever had, minus what it
had before the build.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import Bound, Family, Figure
from tests.support.components import needs
from tests.support.line import ROOT
from tests.support.nats import running_nats
from tests.support.registry import running_registry

MEGABYTES = 100
GROWTH = Bound("log.memory", "MB", 20)

WORKER = """
import asyncio, json, re, sys
from pathlib import Path
from pipeline.builders import BuildJob, Limits, buildah
from pipeline.builders.buildah_host import detect
from pipeline.bus import connect
from pipeline.log_stream import LogStream

def memory(name):
    found = re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000

async def main():
    state, source, repository, nats = sys.argv[1:]
    bus = await connect(nats, name="bench")
    await bus.create_streams()
    host = await detect(Path(state))
    log = LogStream(bus, "run-1", "web")
    job = BuildJob(Path(source), repository, "run-1", 0, plain_http=True)
    (Path(source) / "Dockerfile").write_text(sys.stdin.read())
    small = Path(source) / "Dockerfile"
    text = small.read_text()
    small.write_text(text.replace("LINES", "10"))
    await buildah.build(job, host=host, limits=Limits(), log=log.sink)  # what a first build loads is no growth
    before = memory("VmRSS")
    small.write_text(text.replace("LINES", "1000000"))
    built = await buildah.build(job, host=host, limits=Limits(), log=log.sink)
    peak = memory("VmHWM")
    await log.end()
    await bus.close()
    print(json.dumps({"before": before, "peak": peak, "dropped": built.report.dropped}))

asyncio.run(main())
"""
LINE = "x" * 99
DOCKERFILE = (
    "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
    f"RUN /bin/busybox yes {LINE} | /bin/busybox head -n LINES\n"
)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """One build, in a worker of its own."""
    needs("buildah", "runc", "docker-registry", "nats-server")
    source = folder / "source"
    source.mkdir()
    shutil.copy(needs("busybox"), source / "busybox")
    with running_registry(folder / "registry") as registry, running_nats(folder / "nats") as nats:
        argv = (sys.executable, "-c", WORKER, str(folder / "state"), str(source), f"{registry}/bench/log", nats)
        done = subprocess.run(
            argv, input=DOCKERFILE, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False
        )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    dropped = found["dropped"] / 1e6
    return [Figure(GROWTH, found["peak"] - found["before"], 1, found | {"printed": MEGABYTES, "dropped": dropped})]


FAMILY = Family((GROWTH,), measure)
