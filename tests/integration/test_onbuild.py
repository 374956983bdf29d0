"""Steps that a base image brings along, as its registry tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from pipeline import attest, images
from pipeline.images import OCI_INDEX, OCI_MANIFEST, Descriptor
from pipeline.onbuild import asker
from pipeline.registries import Registries
from pipeline.registry import Registry
from tests.support.registry import running_registry

MOUNTING = ["RUN --mount=type=cache,id=x,target=/c make"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


async def _pushed(registry: Registry, name: str, triggers: Sequence[str] | None, *, tag: str = "v1") -> Descriptor:
    config = attest.compact({"os": "linux", "config": {"OnBuild": triggers}, "rootfs": {"diff_ids": []}})
    listed = Descriptor("application/vnd.oci.image.config.v1+json", await registry.put_blob(name, config), len(config))
    body = attest.compact({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": listed.document(), "layers": []})
    await registry.put_manifest(name, tag, OCI_MANIFEST, body)
    return Descriptor(OCI_MANIFEST, images.sha256(body), len(body))


def _mounts(host: str, image: str) -> bool:
    return asyncio.run(asker(Registries(plain_http=frozenset({host})))(f"{host}/{image}"))


@pytest.mark.parametrize(
    ("triggers", "mounting"),
    [(None, False), (["RUN make"], False), (MOUNTING, True)],
    ids=["none", "plain", "mounting"],
)
def test_a_trigger_that_mounts_something_is_found(host: str, triggers: Sequence[str] | None, mounting: bool) -> None:
    async def story() -> Descriptor:
        async with Registry(host, plain_http=True) as registry:
            return await _pushed(registry, f"base/{mounting}{triggers is None}".lower(), triggers)

    digest = asyncio.run(story()).digest

    assert _mounts(host, f"base/{mounting}{triggers is None}:v1".lower()) is mounting
    assert _mounts(host, f"base/{mounting}{triggers is None}@{digest}".lower()) is mounting


def test_one_platform_of_several_is_enough(host: str) -> None:
    async def story() -> None:
        async with Registry(host, plain_http=True) as registry:
            members = [
                await _pushed(registry, "base/several", one, tag=f"t{n}") for n, one in enumerate((None, MOUNTING))
            ]
            await registry.put_manifest("base/several", "v1", OCI_INDEX, attest.merged_index(None, members) or b"")

    asyncio.run(story())

    assert _mounts(host, "base/several:v1")


@pytest.mark.parametrize("image", ["base/absent:v1", "base/absent@sha256:" + "0" * 64])
def test_what_cannot_be_found_out_counts_as_yes(host: str, image: str) -> None:
    assert _mounts(host, image)
