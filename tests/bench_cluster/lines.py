"""``cluster.logs``: three pods that print 300 lines a second each, followed: how late a line is, and that none is lost.

A line's birth is the time that the node's runtime wrote beside it; all clocks here are one.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from gitops.clusters import LogLine, ServiceRef, Wanted
from tests.bench.figures import Bound, Family, Figure
from tests.support import kube

PODS = 3
BURST = 30
SECONDS = 20
LOGS = Bound("cluster.logs", "ms", 300)
PRINT = (
    "sleep 3; n=0; b=0; while [ $b -lt %d ]; do i=0; while [ $i -lt %d ]; do echo $n; n=$((n+1)); i=$((i+1)); done;"
    " b=$((b+1)); sleep 0.1; done; exec sleep 1000"
)


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Follow from before the first line until every pod has printed its last."""
    with kube.a_world(folder) as world:
        return [asyncio.run(_measure(world))]


async def _measure(world: kube.KubernetesWorld) -> Figure:
    ref, bursts = ServiceRef(f"lines-{world.instance}", "production", "web"), SECONDS * 10
    image = world.image("lines")
    container = {"name": "web", "image": image, "command": ["/bin/sh", "-c", PRINT % (bursts, BURST)]}
    spec = {"replicas": PODS, "template": {"spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}}
    document = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    await world.cluster.start(Wanted(ref, "d1", "v1", image, (document,)))
    late: list[float] = []
    seen: dict[str, list[int]] = {}
    try:
        async with asyncio.timeout(SECONDS * 4):
            async for line in world.cluster.logs(ref, follow=True):
                _take(line, late, seen)
                if len(seen) == PODS and all(len(numbers) == bursts * BURST for numbers in seen.values()):
                    break
    finally:
        await world.cluster.remove(ref, grace=0)
        await world.close()
    lost = sum(numbers != list(range(bursts * BURST)) for numbers in seen.values())
    late.sort()
    detail = {"lines": len(late), "pods_with_a_loss": lost, "p50": late[len(late) // 2], "max": late[-1]}
    return Figure(LOGS, None if lost else late[int(len(late) * 0.95)], len(late), detail)


def _take(line: LogLine, late: list[float], seen: dict[str, list[int]]) -> None:
    late.append(round((time.time_ns() - line.time) / 1e6, 1))
    seen.setdefault(line.replica, []).append(int(line.text))


FAMILY = Family((LOGS,), measure)
