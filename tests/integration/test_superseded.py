"""What a tag named before goes with its bytes from a real registry's storage; what has no tag and is evidence stays."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from console.superseded import forget_superseded
from pipeline import attest
from pipeline.images import Descriptor, sha256
from pipeline.registry import Registry
from tests.support.components import needs
from tests.support.registry import push_image, running_registry


def test_an_older_cache_and_an_older_list_go_and_evidence_stays(tmp_path: Path) -> None:
    with running_registry(tmp_path) as host:
        evidence = asyncio.run(pushed(host))

    assert forget_superseded(tmp_path / "storage") == 2
    assert forget_superseded(tmp_path / "storage") == 0
    argv = (needs("docker-registry"), "garbage-collect", str(tmp_path / "registry.yml"))
    subprocess.run(argv, check=True, capture_output=True, timeout=60)

    with running_registry(tmp_path) as host:
        assert asyncio.run(found(host)) == ([False, True], evidence)


async def pushed(host: str) -> set[str]:
    """A cache written twice, and an image with two attestations, listed one after the other."""
    async with Registry(host, plain_http=True) as registry:
        for content in (b"old cache", b"new cache"):
            await push_image(registry, "shop/web/cache", tag="a-main", content=content)
        image = await push_image(registry, "shop/web", tag="r-aaaaaaaaaaaa")
        subject = Descriptor("application/vnd.oci.image.manifest.v1+json", image.digest, 1)
        await registry.put_blob("shop/web", attest.EMPTY)
        for number in range(2):
            bundle = json.dumps({"number": number}).encode()
            await registry.put_blob("shop/web", bundle)
            made = attest.referrer(subject, bundle, "test")
            await registry.put_manifest("shop/web", made.digest, made.media_type, made.body)
            await registry.add_referrers("shop/web", image.digest, [made.descriptor()])
        return {one.digest for one in await registry.referrers("shop/web", image.digest)}


async def found(host: str) -> tuple[list[bool], set[str]]:
    """Which of the caches' bytes are there, and which attestations are listed and can be read."""
    async with Registry(host, plain_http=True) as registry:
        caches = [await registry.has_blob("shop/web/cache", sha256(data)) for data in (b"old cache", b"new cache")]
        image = await registry.manifest("shop/web", "r-aaaaaaaaaaaa")
        assert image is not None
        listed = await registry.referrers("shop/web", image.digest)
        read = [await registry.manifest("shop/web", one.digest) for one in listed]
    return caches, {one.digest for one in read if one is not None}
