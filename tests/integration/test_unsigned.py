"""What nobody signed, written into the config repository by hand, is deployed nowhere: real git, registry and store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from gitops.clusters.podman import Podman
from gitops.gate.signatures import Gate
from gitops.git.configrepo import ConfigRepo
from gitops.syncing.desired import Desired
from gitops.syncing.front import Front
from gitops.syncing.placement import Clusters
from gitops.syncing.syncer import Syncer
from pipeline.errors import Refused
from pipeline.keys import SigningKey
from pipeline.records import Deployment, Live, Release
from pipeline.registry import Registry
from pipeline.store import Change, Step
from pipeline.supply import sign_release
from tests.support.committer_world import WEB, World, told
from tests.support.components import needs
from tests.support.forgeries import BUILDER, SPDX, facts
from tests.support.registry import push_image, running_registry

SIGNER = SigningKey.generate()
FILE = "shop/production/web/deployment.yaml"


@dataclass
class Shop:
    """A committer, and the registry that the syncer's gate asks."""

    world: World
    registry: Registry

    @property
    def gate(self) -> Gate:
        return Gate(self.world.store, self.registry, [SIGNER.public], frozenset({BUILDER}))

    async def image(self, content: bytes, *, signed: bool) -> str:
        image = await push_image(self.registry, "shop/web", tag=content.decode(), content=content)
        if signed:
            await sign_release(self.registry, image, key=SIGNER, provenance=facts(), sbom=SPDX)
        return str(image)

    async def deployed(self, image: str) -> Deployment:
        event = await self.world.release(1)
        stored = await self.world.store.get(Release, event.release)
        assert stored is not None
        await self.world.store.commit(Step((Change(replace(stored.record, image=image), stored.seq),)))
        await self.world.do(event)
        return await self.world.seen_running()

    async def pushed_by_hand(self, old: str, new: str) -> Deployment:
        person = self.world.person()
        person.write(FILE, self.world.file(FILE).replace(old, new))
        person.push("Another image")
        await self.world.moved()
        stored = await self.world.store.get(Deployment, (await self.world.target()).deployment)
        assert stored is not None
        return stored.record

    async def ended(self, deployment: str) -> Deployment:
        """The deployment once a syncer that looks at the target has failed it."""
        store = self.world.store
        front = Front(store, door_url="http://localhost:1", door_ops=1)
        clusters = Clusters("podman", lambda: {"podman": lambda: Podman(instance="nobody")})
        wishes = Desired(ConfigRepo(self.world.tmp / "wishes", self.world.url))
        passes = asyncio.create_task(Syncer(store, clusters, wishes, front, self.gate).follow())
        try:
            async with store.bus.watch("st.deployment.*") as messages:
                async for message in messages:
                    found = msgspec.json.decode(message.data, type=Deployment)
                    if (found.id, found.status) == (deployment, "failed"):
                        return found
        finally:
            passes.cancel()
            await asyncio.gather(passes, return_exceptions=True)
            await clusters.close()
        raise AssertionError("the watch ended")


def _told(tmp_path: Path, story: Callable[[Shop], Awaitable[None]]) -> None:
    async def with_registry(world: World) -> None:
        with running_registry(tmp_path / "registry") as host:
            async with Registry(host, plain_http=True) as registry:
                await story(Shop(world, registry))

    told(tmp_path, with_registry)


def test_an_unsigned_digest_that_is_pushed_by_hand_fails_and_says_why(tmp_path: Path) -> None:
    needs("podman")

    async def story(shop: Shop) -> None:
        signed = await shop.image(b"signed", signed=True)
        unsigned = await shop.image(b"unsigned", signed=False)
        before = await shop.deployed(signed)
        pending = await shop.pushed_by_hand(signed, unsigned)
        assert (pending.status, pending.image) == ("pending", unsigned)
        assert pending.id != before.id

        failed = await shop.ended(pending.id)
        assert failed.reason == "unsigned"
        assert failed.message
        assert failed.since >= pending.created_at > ""  # by which a notice tells one failure from the next
        assert await shop.world.store.get(Live, *WEB) is None

    _told(tmp_path, story)


def test_the_gate_takes_a_signed_digest_from_any_hand_and_no_unsigned_one(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        signed = await shop.image(b"signed", signed=True)
        assert (await shop.gate.image(signed)).image == signed
        with pytest.raises(Refused):
            await shop.gate.image(await shop.image(b"unsigned", signed=False))

    _told(tmp_path, story)
