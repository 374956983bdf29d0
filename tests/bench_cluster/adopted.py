"""``committer.adopted_vs_git``: as ``committer.vs_git``, where every file belongs to a person and is edited in place.

Ours reads the file, finds the container, exchanges the image's bytes, parses the result again and compares; the peer,
git's loop, gets its file ready made.
"""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

from gitops.editing import targetfile
from gitops.editing.targetfile import TargetFile
from gitops.editing.targets import Target
from gitops.layout import TARGETS_FILE, Place
from pipeline.bus import connect
from pipeline.records import Release
from pipeline.store import Store
from tests.bench.committer import BY_GIT, GROUP, RUNS, World, by_git
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.support.config_git import Person, bare, served
from tests.support.nats import running_nats

SIZE = 10_000
ADOPTED_VS_GIT = Bound("committer.adopted_vs_git", "ratio", 5, "higher")
MANIFEST = """\
# {service}: ask in #platform before you change the replicas.
apiVersion: v1
kind: Service
metadata:
  name: {service}
  labels: {{app: {service}, team: "platform"}}
spec:
  selector: {{app: {service}}}
  ports:
    - {{name: http, port: 80, targetPort: 8080}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {service}
  labels: &labels {{app: {service}}}
  annotations:
    docs: 'https://wiki.example/{service}'   # keep this
spec:
  replicas: 3
  selector:
    matchLabels: *labels
  template:
    metadata:
      labels: *labels
    spec:
      containers:
        - name: proxy
          image: envoyproxy/envoy:v1.30.1
          args: ["--concurrency", "2"]
        - name: {service}
          image: "{image}"  # deployed by Enclii
          ports:
            - containerPort: 8080
          env:
            - name: MOTD
              value: |
                image: not this one
                bye
          readinessProbe:
            httpGet: {{path: /healthz, port: 8080}}
            periodSeconds: 2
          resources:
            requests: {{cpu: 100m, memory: 128Mi}}
            limits:
              memory: 256Mi

      # nothing below this line is ours
      terminationGracePeriodSeconds: 30
"""


def files(release: Release, place: Place) -> dict[str, bytes]:
    """A person's directory: two documents in one file, and where in it the image stands."""
    target = Target(f"{place.path}/stack.yaml", "workload", f"Deployment/{place.service}", place.service)
    return {
        "stack.yaml": MANIFEST.format(service=place.service, image=release.image).encode(),
        TARGETS_FILE: targetfile.render(TargetFile((target,)), place.path),
    }


def measure(folder: Path, _: frozenset[str]) -> list[Figure]:
    """Groups of releases by the committer, and git's loop, in the same repository."""
    groups, singles = asyncio.run(_measured(folder))
    peer = statistics.median(1 / seconds for seconds in singles)
    ours = [GROUP / seconds for seconds in groups]
    rates = {"per_second": round(statistics.median(ours), 1), "git_per_second": round(peer, 2)}
    sizes = {"services": SIZE, "group": GROUP, "git_runs": len(singles), "lines": MANIFEST.count("\n")}
    return [median_of(ADOPTED_VS_GIT, [rate / peer for rate in ours], **rates, **sizes)]


async def _measured(folder: Path) -> tuple[list[float], list[float]]:
    remote = bare(folder)
    with running_nats(folder / "nats") as nats, served(folder) as address:
        bus = await connect(nats, name="bench")
        try:
            await bus.create_streams()
            world = World(folder, f"{address}/config.git", Store(bus), SIZE, files=files)
            person = Person(remote, folder)
            person.git("config", "gc.auto", "0")  # or it is still at work when the folder goes
            await world.seed(person)
            groups = [await world.group(GROUP) for _run in range(RUNS)]
            return groups, await asyncio.to_thread(by_git, world, person, BY_GIT)
        finally:
            await bus.close()


FAMILY = Family((ADOPTED_VS_GIT,), measure)
