"""What the gate refused is not called running, though the cluster's own tool has applied it: the kit's real cluster."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from gitops.clusters import ServiceRef
from gitops.gate.signatures import Gate
from gitops.git.configrepo import ConfigRepo
from gitops.syncing.desired import Desired
from gitops.syncing.front import Front
from gitops.syncing.placement import Clusters
from gitops.syncing.syncer import Syncer
from pipeline.bus import connect
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from pipeline.records import Deployment, Live, Target
from pipeline.registry import Registry
from pipeline.store import Change, Step, Store
from pipeline.supply import sign_release
from tests.contract.cluster_contract import LIMIT, Service
from tests.support import kube
from tests.support.config_git import Person, bare, served
from tests.support.forgeries import BUILDER, SPDX, facts
from tests.support.kube import KubernetesWorld
from tests.support.nats import running_nats

SIGNER = SigningKey.generate()


class Applied:
    """A deployment that failed at the gate, and that a tool brought to the cluster all the same."""

    def __init__(self, world: KubernetesWorld, store: Store, registry: Registry, tmp: Path, url: str) -> None:
        self.world, self.store, self.registry = world, store, registry
        self.ref = ServiceRef(f"{world.instance}", "production", "web")
        clusters = Clusters("kit", lambda: {"kit": lambda: world.cluster})
        self.wishes = Desired(ConfigRepo(tmp / "wishes", url))
        gate = Gate(store, registry, [SIGNER.public], frozenset({BUILDER}))
        front = Front(store, door_url="http://localhost:1", door_ops=1)
        self.syncer = Syncer(store, clusters, self.wishes, front, gate)

    async def begin(self, person: Person) -> Deployment:
        wanted = Service(self.ref, self.world).wanted()
        person.write(f"{self.ref.project}/production/web/deployment.yaml", json.dumps(wanted.documents[0]))
        person.push("Deploy by hand")
        commit = person.git("rev-parse", "HEAD").strip()
        deployment = Deployment(
            id="d1", project=self.ref.project, environment="production", service="web", release="", via="git",
            image=wanted.image, status="failed", reason="unsigned", config_commit=commit,
        )  # fmt: skip
        target = Target(
            project=self.ref.project, environment="production", service="web", deployment="d1", release="", sha="",
            image=wanted.image, config_commit=commit,
        )  # fmt: skip
        await self.store.commit(Step((Change(deployment, 0), Change(target, 0))))
        applied = await self.wishes.wanted(deployment)
        await self.world.cluster.start(applied)
        await self.world.cluster.wait_healthy(applied, timeout=LIMIT)
        return deployment

    async def status(self) -> tuple[str, str]:
        """What one more pass says: of the deployment, and of what is live."""
        await self.syncer.reconcile(self.ref)
        stored = await self.store.get(Deployment, "d1")
        live = await self.store.get(Live, *(self.ref.project, "production", "web"))
        return stored.record.status if stored else "", live.record.status if live else ""


def test_what_is_refused_is_not_running_until_somebody_signed_it(tmp_path: Path) -> None:
    async def story(world: KubernetesWorld, nats: str, config: Path, url: str) -> None:
        bus = await connect(nats, name="test")
        await bus.create_streams()
        async with Registry(world.registry, plain_http=True) as registry:
            applied = Applied(world, Store(bus), registry, tmp_path, url)
            try:
                (tmp_path / "person").mkdir()
                deployment = await applied.begin(Person(config, tmp_path / "person"))
                assert await applied.status() == ("failed", "")

                image = ImageRef.parse(deployment.image)
                await sign_release(registry, image, key=SIGNER, provenance=facts(), sbom=SPDX)
                assert await applied.status() == ("running", "running")
                await world.cluster.remove(applied.ref, grace=0)
            finally:
                await world.close()
                await bus.close()

    with kube.a_world(tmp_path / "kube") as world, running_nats(tmp_path / "nats") as nats, served(tmp_path) as at:
        asyncio.run(story(world, nats, bare(tmp_path), f"{at}/config.git"))
