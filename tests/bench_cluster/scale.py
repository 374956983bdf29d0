"""A thousand services on one cluster: what a look at all of them costs, what one change costs, and what watching costs.

Each has a Deployment, a Service and a ConfigMap; no pods, because one node cannot hold a thousand.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from gitops.clusters import ServiceRef
from gitops.clusters.kubernetes import Kubernetes
from gitops.gate.signatures import Gate
from gitops.git.configrepo import ConfigRepo
from gitops.syncing.desired import Desired
from gitops.syncing.front import Front
from gitops.syncing.placement import Clusters
from gitops.syncing.syncer import Syncer
from pipeline.bus import connect
from pipeline.records import Deployment, Record, Target, Verdict
from pipeline.registry import Registry
from pipeline.store import Change, Step, Store, now
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.support import kube
from tests.support.config_git import bare, git
from tests.support.nats import running_nats

SERVICES = 1_000
PROJECT = f"bench-{uuid4().hex[:6]}"
"""Of this run alone: the namespace of the run before may still be ending."""
CHANGES = 10
AT_ONCE = 16
IMAGE = "registry.example:5000/shop/web@sha256:" + "1" * 64
RECONCILE = Bound("cluster.reconcile", "s", 10)
APPLY_ONE = Bound("cluster.apply_one", "s", 1)
OBSERVE = Bound("cluster.observe", "MB", 100)
MOST_REQUESTS = 50
WATCHER = """
import asyncio, re, sys
from pathlib import Path
from gitops.clusters.kube_login import Access, login
from gitops.clusters.kubernetes import Kubernetes

def pss():
    return int(re.search(r"^Pss:\\s+(\\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)[1]) * 1024 / 1e6

async def go(kubeconfig, instance):
    cluster = Kubernetes(login(Access(Path(kubeconfig))), instance=instance)
    await cluster.api.get("/version", doing="connect")
    before = pss()
    seen = await cluster.observe()
    print(len(seen), before, pss())
    await cluster.close()

asyncio.run(go(sys.argv[1], sys.argv[2]))
"""


@dataclass
class World:
    """The syncer with a thousand services, and the cluster that it applies to."""

    syncer: Syncer
    store: Store
    clone: Path
    instance: str
    first: float

    async def all(self) -> float:
        """Seconds of one look at every service."""
        slots, began = asyncio.Semaphore(AT_ONCE), time.monotonic()

        async def one(ref: ServiceRef) -> None:
            async with slots:
                await self.syncer.reconcile(ref)

        await asyncio.gather(*(one(ref_of(number)) for number in range(SERVICES)))
        return time.monotonic() - began


def ref_of(number: int) -> ServiceRef:
    return ServiceRef(PROJECT, "production", f"s{number}")


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """Apply a thousand services, then look again with everything unchanged, then change some."""
    return asyncio.run(_measure(folder, wanted))


async def _measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    found = []
    with kube.an_instance("bench") as instance, running_nats(folder / "nats") as url:
        async with a_world(folder, instance, url) as world:
            if RECONCILE.figure in wanted:
                found.append(await _reconciled(world))
            if APPLY_ONE.figure in wanted:
                times = [await _changed(world, number) for number in range(CHANGES)]
                found.append(median_of(APPLY_ONE, times))
            if OBSERVE.figure in wanted:
                found.append(_watched(instance))
    return found


async def _reconciled(world: World) -> Figure:
    """A new connection lists everything once; that belongs to the look."""
    runs, requests = [], []
    for _ in range(3):
        cluster = kube.adapter(world.instance)
        old, world.syncer.clusters = (
            world.syncer.clusters,
            Clusters("kit", lambda cluster=cluster: {"kit": lambda: cluster}),
        )
        await old.close()
        runs.append(await world.all())
        requests.append(cluster.api.requests)
    detail = {
        "services": SERVICES,
        "requests": requests,
        "requests_to_reach": MOST_REQUESTS,
        "first_apply_s": world.first,
    }
    figure = median_of(RECONCILE, runs, **detail)
    return replace(figure, value=None) if max(requests) > MOST_REQUESTS else figure


async def _changed(world: World, number: int) -> float:
    """From the record of a config commit to the object in the cluster."""
    ref = ref_of(number)
    path = world.clone / ref.project / ref.environment / ref.service / "config.yaml"
    path.write_text(path.read_text().replace("info", f"debug-{number}"))
    commit = push(world.clone, f"change {number}")
    await world.store.commit(Step(tuple(Change(one, None) for one in records(number, commit))))
    began = time.monotonic()
    await world.syncer.reconcile(ref)
    took = time.monotonic() - began
    cluster = await world.syncer.clusters.of(ref)
    assert isinstance(cluster, Kubernetes)
    there = json.loads(
        await cluster.api.get(f"/api/v1/namespaces/{PROJECT}-production/configmaps/{ref.service}", doing="look")
    )
    assert there["data"]["LEVEL"] == f"debug-{number}"
    return took


def _watched(instance: str) -> Figure:
    argv = [sys.executable, "-c", WATCHER, str(kube.kubeconfig()), instance]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True, env=dict(os.environ))
    count, before, after = (float(part) for part in done.stdout.split())
    assert count >= SERVICES
    return Figure(OBSERVE, after - before, int(count), {"before_mb": round(before, 1), "after_mb": round(after, 1)})


@asynccontextmanager
async def a_world(folder: Path, instance: str, url: str) -> AsyncIterator[World]:
    remote, clone = bare(folder), folder / "clone"
    git("clone", "-q", str(remote), str(clone), cwd=folder)
    for number in range(SERVICES):
        write(clone, ref_of(number))
    commit = push(clone, "a thousand services")
    bus = await connect(url, name="bench")
    await bus.create_streams()
    store = Store(bus, source="bench")
    for number in range(SERVICES):
        await store.commit(Step(tuple(Change(one, None) for one in records(number, commit, status="pending"))))
    cluster = kube.adapter(instance)
    gate = Gate(store, Registry("registry.example:5000", plain_http=True), [], frozenset())
    desired = Desired(ConfigRepo(folder / "mirror", remote.as_uri()))
    front = Front(store, door_url="http://localhost:1", door_ops=1)
    world = World(
        Syncer(store, Clusters("kit", lambda: {"kit": lambda: cluster}), desired, front, gate),
        store,
        clone,
        instance,
        0,
    )
    try:
        await store.commit(Step((Change(verdict(), None),)))
        world.first = round(await world.all(), 1)
        yield world
    finally:
        await world.syncer.clusters.close()
        await bus.close()


def verdict() -> Verdict:
    return Verdict(image=IMAGE, source_url="http://git.example/shop.git", shas=(), provenance="", verified_at=now())


def records(number: int, commit: str, *, status: str = "pending") -> list[Record]:
    ref = ref_of(number)
    place = {"project": ref.project, "environment": ref.environment, "service": ref.service}
    deployment = Deployment(
        id=f"d-{number}-{commit[:8]}", **place, release=f"bench.{ref.service}.v1", image=IMAGE, status="pending",
        config_commit=commit, created_at=now(),
    )  # fmt: skip
    target = Target(
        **place, deployment=deployment.id, release=deployment.release, image=IMAGE, sha="", config_commit=commit
    )
    return [deployment, target]


def write(clone: Path, ref: ServiceRef) -> None:
    """A service's directory: configuration, a Service and a Deployment without replicas."""
    labels = {f"enclii.dev/{key}": getattr(ref, key) for key in ("project", "environment", "service")}
    container = {"name": "web", "image": IMAGE, "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    documents = {
        "config.yaml": {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ref.service}, "data": {"LEVEL": "info"},
        },
        "service.yaml": {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": ref.service},
            "spec": {"selector": labels, "clusterIP": "None", "ports": [{"port": 8080}]},
        },
        "deployment.yaml": {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": ref.service, "labels": labels},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        },
    }  # fmt: skip
    folder = clone / ref.project / ref.environment / ref.service
    folder.mkdir(parents=True)
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2))


def push(clone: Path, subject: str) -> str:
    git("add", "-A", cwd=clone)
    git("commit", "-q", "-m", subject, cwd=clone)
    git("push", "-q", "origin", "HEAD:main", cwd=clone)
    return git("rev-parse", "HEAD", cwd=clone)


FAMILY = Family((RECONCILE, APPLY_ONE, OBSERVE), measure)
