"""``sign.latency`` and ``sign.rate``: what it takes to sign a release against a local registry.

Latency: signature in both forms, provenance and an SBOM of some hundred packages, attached and read back as a stranger
would. Rate: the signer's own stage with the event store behind it, from fifty events that wait to fifty releases.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvloop

from pipeline.bus import connect
from pipeline.events import ImageBuilt, ReleaseReady
from pipeline.keys import SigningKey
from pipeline.records import Job, Release, Repository, Run
from pipeline.registry import Registry
from pipeline.servicefile import ServiceSpec
from pipeline.stages.sign import AT_ONCE, Signer
from pipeline.store import Change, Step, Store
from pipeline.supply import sign_release
from pipeline.worker import Stage, work
from tests.bench.figures import Bound, Family, Figure, median_of
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, facts
from tests.support.nats import running_nats
from tests.support.registry import push_image, running_registry

RUNS, WARM = 30, 3
RELEASES, ROUNDS = 50, 3
PACKAGES = 300
LIMIT = 120.0
LATENCY = Bound("sign.latency", "ms", 150)
RATE = Bound("sign.rate", "1/s", 20, "higher")


def measure(folder: Path, wanted: frozenset[str]) -> list[Figure]:
    """Both against one registry."""
    with running_registry(folder / "registry") as host, running_nats(folder / "nats") as url:
        found = []
        if LATENCY.figure in wanted:
            took = uvloop.run(one_by_one(host))
            found.append(median_of(LATENCY, took, slowest=round(max(took), 1), packages=PACKAGES))
        if RATE.figure in wanted:
            found.append(median_of(RATE, uvloop.run(rates(host, url)), releases=RELEASES, packages=PACKAGES))
        return found


def document() -> bytes:
    """An SPDX document as large as that of a usual base image."""
    told = json.loads(SPDX)
    of = [{"SPDXID": f"SPDXRef-{n}", "name": f"package-{n}", "versionInfo": f"1.{n}", "downloadLocation": "NOASSERTION"}
          for n in range(PACKAGES)]  # fmt: skip
    return json.dumps({**told, "packages": of}).encode()


async def one_by_one(host: str) -> list[float]:
    """Milliseconds for each release, the first few left out."""
    key, sbom, took = SigningKey.generate(), document(), []
    async with Registry(host, plain_http=True) as registry:
        for number in range(WARM + RUNS):
            image = await push_image(registry, "bench/latency", tag=f"v{number}", content=b"%d" % number)
            begun = time.monotonic()
            await sign_release(registry, image, key=key, provenance=facts(), sbom=sbom)
            took.append((time.monotonic() - begun) * 1e3)
    return took[WARM:]


async def rates(host: str, url: str) -> list[float]:
    """Releases a second, round after round on one store."""
    async with Registry(host, plain_http=True) as registry, opened(url) as store:
        return [await one_round(registry, store, f"round{number}") for number in range(ROUNDS)]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = Store(await connect(url, name="bench"))
    try:
        await store.bus.create_streams()
        yield store
    finally:
        await store.bus.close()


async def one_round(registry: Registry, store: Store, project: str) -> float:
    """Fifty events that wait; how many releases a second there are until the last is ready."""
    await waiting(registry, store, project)
    stage = Signer(store, registry, SigningKey.generate(), BUILDER, SigningKey.generate())
    stopping = asyncio.Event()
    begun = time.monotonic()
    signing = Stage("signer", (ImageBuilt,), stage.handle, stage.failed, at_once=AT_ONCE)
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        group.create_task(work(signing, store, stopping))
        ready = 0
        async with store.bus.watch(f"ev.{ReleaseReady.type}.*") as messages:
            async for message in messages:
                ready += msgspec.json.decode(message.data, type=ReleaseReady).project == project
                if ready == RELEASES:
                    took = time.monotonic() - begun
                    stopping.set()
                    break
    assert sum(one.project == project for one in await store.all(Release)) == RELEASES
    return RELEASES / took


async def waiting(registry: Registry, store: Store, project: str) -> None:
    """Images and SBOMs in the registry, jobs that wait for a signature, and the events that say so."""
    repository = Repository(id=f"local:{project}", project=project, name=project, forge="local", url=SOURCE)
    names = [f"s{number}" for number in range(RELEASES)]
    run = Run(
        id=f"r-{project}", project=project, repository=repository.id, ref="refs/heads/main", sha=SHA, actor="",
        subject_line="", delivery="", created_at="", services=tuple(names),
    )  # fmt: skip
    events, jobs = [], []
    for name in names:
        image = await push_image(registry, f"{project}/{name}", content=f"{project}/{name}".encode())
        sbom = await registry.put_blob(image.repository, document())
        events.append(
            ImageBuilt(
                id=f"{run.id}/{name}", run=run.id, project=project, service=name, image=str(image), sbom=sbom,
                build_key=f"{project}/{name}", builder="bench", started_at="2026-01-01T00:00:00Z",
                finished_at="2026-01-01T00:00:01Z",
            )
        )  # fmt: skip
        spec = msgspec.json.encode(ServiceSpec(name=name)).decode()
        jobs.append(Job(run=run.id, project=project, service=name, status="signing", spec=spec))
    await store.commit(Step(tuple(Change(one) for one in (repository, run, *jobs))))
    await store.publish(*events)


FAMILY = Family((LATENCY, RATE), measure)
