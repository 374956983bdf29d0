"""``cluster.logs``: three pods of 300 lines a second each, read by ``enclii logs -f``: how late a line is.

A line's birth is the time that the node's runtime wrote beside it; all clocks here are one. From the pod over the
syncer and the API to what the command prints nothing may be lost: each pod counts, and its numbers have no gap.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from tests.bench.figures import Bound, Family, Figure
from tests.support.cluster_story import Story, connected
from tests.support.components import SEARCH_PATH
from tests.support.line import API, ROOT, eventually

PODS = 3
BURST = 30
SECONDS = 20
LINES = SECONDS * 10 * BURST
LOGS = Bound("cluster.logs", "ms", 300)
PRINT = (
    "n=0; while true; do i=0; while [ $i -lt %d ]; do echo $n; n=$((n+1)); i=$((i+1)); done; sleep 0.1; done &"
    " exec /bin/busybox httpd -f -p 8080 -h /www"
)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Follow until so many lines of every pod were printed."""
    with connected(folder, "own") as story:
        service = story.shop / "enclii.yaml"
        service.write_text(service.read_text().replace("replicas: 2", f"replicas: {PODS}"))
        story.push("lines\n", json.dumps(["/bin/busybox", "sh", "-c", PRINT % BURST]))
        eventually(lambda: story.runs("v1"), limit=180, what="the pods print")
        return [_measured(story)]


def _measured(story: Story) -> Figure:
    words = ("logs", "-f", "-n", "0", "-o", "jsonl", "-p", story.name, "-s", "web", "-e", "production")
    argv = (sys.executable, "-c", "from console.cli import main; main()", *words)
    env = {"PATH": SEARCH_PATH, "HOME": str(story.line.home), "ENCLII_TOKEN": API, "PYTHONUNBUFFERED": "1"}
    env["ENCLII_SERVER"] = f"http://127.0.0.1:{story.line.ports['console']}"
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            late, seen = _read(child.stdout)
        finally:
            child.terminate()
            child.wait(10)
    lost = sum(numbers != list(range(numbers[0], numbers[0] + len(numbers))) for numbers in seen.values())
    late.sort()
    read = sum(len(numbers) for numbers in seen.values())
    detail = {"lines": read, "pods_with_a_loss": lost, "p50": late[len(late) // 2], "max": late[-1]}
    return Figure(LOGS, None if lost else late[int(len(late) * 0.95)], len(late), detail)


def _read(printed: IO[bytes]) -> tuple[list[float], dict[str, list[int]]]:
    """How late each line was in milliseconds, and the numbers of each pod."""
    late: list[float] = []
    seen: dict[str, list[int]] = {}
    begun, first = time.monotonic(), 0.0
    for raw in printed:
        line: dict[str, Any] = json.loads(raw)
        first = first or time.time()
        born = datetime.fromisoformat(line["time"]).timestamp()
        if born >= first:  # what was printed before is what the command began with, and is counted all the same
            late.append(round((time.time() - born) * 1e3, 1))
        seen.setdefault(line["replica"], []).append(int(line["text"]))
        if len(seen) == PODS and all(len(numbers) >= LINES for numbers in seen.values()):
            return late, seen
        assert time.monotonic() - begun < SECONDS * 6, f"only {[len(one) for one in seen.values()]} lines came"
    raise AssertionError("the command ended by itself")


FAMILY = Family((LOGS,), measure)
