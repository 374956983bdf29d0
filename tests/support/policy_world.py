"""A committer whose gate and policy are real, over a real registry: what a decision rests on in a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gitops.committing.committer import Committer
from gitops.committing.ports import Ports
from gitops.gate.permit import Permit
from gitops.gate.signatures import Gate
from gitops.git.configrepo import ConfigRepo
from pipeline import attest
from pipeline.events import ReleaseReady
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef
from pipeline.keys import SigningKey
from pipeline.records import Decision, Release
from pipeline.registry import Registry
from pipeline.store import Change, Step
from pipeline.supply import sign_release
from pipeline.trust import Signs, Trusted
from tests.support.committer_world import World, told
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, facts
from tests.support.registry import push_image, running_registry

SIGNER, VERIFIER = SigningKey.generate(), SigningKey.generate()
Story = Callable[["Shop"], Awaitable[None]]


@dataclass
class Shop:
    """A committer whose gate and policy are real, and the registry that they ask."""

    world: World
    registry: Registry

    async def release(self, number: int, *, key: Signs = SIGNER, sbom: bytes = SPDX, **facts_: Any) -> ReleaseReady:
        """A signed image in the registry, and the release that names it."""
        image = await self.image(number)
        await sign_release(self.registry, image, key=key, provenance=facts(**facts_), sbom=sbom)
        return await self.released(number, image)

    async def image(self, number: int) -> ImageRef:
        """An image of its own, with nothing beside it."""
        return await push_image(self.registry, "shop/web", content=b"%d" % number)

    async def released(self, number: int, image: ImageRef) -> ReleaseReady:
        """The release that names ``image``, whatever lies beside it."""
        event = await self.world.release(number)
        stored = await self.world.store.get(Release, event.release)
        assert stored is not None
        real = replace(stored.record, image=str(image), source_url=SOURCE, sha=SHA)
        await self.world.store.commit(Step((Change(real, stored.seq),)))
        return event

    async def attach(self, image: ImageRef, bundle: bytes, label: str) -> None:
        """List ``bundle`` beside ``image``, as anybody who may push can."""
        await asyncio.gather(*(self.registry.put_blob(image.repository, blob) for blob in (attest.EMPTY, bundle)))
        manifest = attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), bundle, label)
        await self.registry.put_manifest(image.repository, manifest.digest, manifest.media_type, manifest.body)
        await self.registry.add_referrers(image.repository, image.digest, [manifest.descriptor()])

    def policy(self, text: str, path: str = "policy.yaml") -> None:
        person = self.world.person()
        person.write(path, text)
        person.push("A policy")

    async def decision(self, number: int) -> Decision:
        return await self.world.decision(f"shop.web.v{number}/production")


def deciding(tmp_path: Path, story: Story) -> None:
    """Run ``story`` in a shop of its own."""

    async def with_registry(world: World) -> None:
        with running_registry(tmp_path / "registry") as host:
            async with Registry(host, plain_http=True) as registry:
                world.committer = judge(world, registry)
                await story(Shop(world, registry))

    told(tmp_path, with_registry)


def judge(
    world: World,
    registry: Registry,
    keys: Sequence[Trusted] = (SIGNER.public,),
    *,
    reachable: bool | None = True,
) -> Committer:
    """A committer whose gate accepts ``keys``; ``reachable`` is what is known of any commit's branch."""
    gate = Gate(world.store, registry, keys, frozenset({BUILDER}))

    async def on_branch(repository: str, sha: str, branch: str) -> bool | None:
        return reachable if branch == "main" else False

    permit = Permit(world.store, registry, gate, VERIFIER, "https://verifier.example", on_branch)
    ports = Ports(gate=gate.release, permit=permit, is_descendant=world.is_descendant, resumes=world.resumes)
    return Committer(ConfigRepo(world.tmp / "judging", world.url), world.store, ports=ports)
