"""Every forgery in a real registry: our verifier refuses it with its reason, and cosign is asked what it says of it.

cosign is the judge of the bytes; what it takes all the same, because it looks at less than the gate, is told beside the
forgery.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline import attest, images
from pipeline.errors import Refused
from pipeline.images import OCI_INDEX, OCI_MANIFEST, Descriptor, ImageRef, Manifest
from pipeline.keys import SigningKey
from pipeline.registry import Registry
from pipeline.verify import Demand, verify_image
from tests.support.forged import FORGED, GOOD, LAID
from tests.support.forged_origins import ORIGINS, UNASKED
from tests.support.forged_repositories import Forged
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, Case, sealed
from tests.support.judge import cosign
from tests.support.registry import push_image, running_registry

KEY = SigningKey.generate()
DEMAND = Demand(SOURCE, SHA, frozenset({BUILDER}))
KINDS = ("", "slsaprovenance1", "spdxjson")


@dataclass(frozen=True)
class Place:
    """A registry with one image in it, whose signature and SBOM are sound; the key is for cosign."""

    image: ImageRef
    sound: list[Descriptor]
    public_key: Path

    def do(self, story: Callable[[Registry], Coroutine[Any, Any, Any]]) -> Any:
        async def whole() -> Any:
            async with Registry(self.image.registry, plain_http=True) as registry:
                return await story(registry)

        return asyncio.run(whole())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("forged")
    (folder / "key.pub").write_bytes(KEY.public.pem)
    with running_registry(folder / "registry") as host:

        async def made() -> tuple[ImageRef, list[Descriptor]]:
            async with Registry(host, plain_http=True) as registry:
                image = await push_image(registry, "forged/bundles")
                signature, sbom = attest.signature_statement(image), attest.sbom_statement(image, SPDX)
                stored = [(sealed(KEY, signature), attest.SIGNATURE), (sealed(KEY, sbom), attest.SBOM)]
                return image, [(await _stored(registry, image, *one)).descriptor() for one in stored]

        image, sound = asyncio.run(made())
        yield Place(image, sound, folder / "key.pub")


async def _stored(registry: Registry, image: ImageRef, bundle: bytes, label: str) -> Manifest:
    await asyncio.gather(*(registry.put_blob(image.repository, blob) for blob in (attest.EMPTY, bundle)))
    manifest = attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), bundle, label)
    await registry.put_manifest(image.repository, manifest.digest, manifest.media_type, manifest.body)
    return manifest


async def _lay(registry: Registry, place: Place, case: Case) -> None:
    """Have the image's list name its sound signature and SBOM, and ``case`` for its provenance."""
    made = await _stored(registry, place.image, case.build(KEY, place.image), attest.PROVENANCE)
    listed = attest.merged_index(None, [*place.sound, made.descriptor()]) or b""
    await registry.put_manifest(place.image.repository, images.fallback_tag(place.image.digest), OCI_INDEX, listed)


async def _verdict(registry: Registry, image: ImageRef) -> str:
    """The reason of the refusal; empty when the image holds."""
    try:
        await verify_image(registry, image, keys=[KEY.public], demand=DEMAND)
    except Refused as error:
        return error.reason
    return ""


def _refusal(place: Place, case: Case) -> str:
    async def story(registry: Registry) -> str:
        await _lay(registry, place, case)
        return await _verdict(registry, place.image)

    return str(place.do(story))


@pytest.mark.parametrize("case", FORGED, ids=lambda case: case.name)
def test_no_forgery_passes_in_the_registry(place: Place, case: Case) -> None:
    assert _refusal(place, case) == case.reason

    taken = cosign(place.public_key, place.image, kind="slsaprovenance1").returncode == 0
    assert taken is bool(case.cosign)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_what_we_accept_cosign_accepts(place: Place, case: Case) -> None:
    assert _refusal(place, case) == ""

    judged = cosign(place.public_key, place.image, kind="slsaprovenance1")
    assert judged.returncode == 0, judged.stderr


def _laid(place: Place, case: Forged) -> tuple[str, ImageRef]:
    async def story(registry: Registry) -> tuple[str, ImageRef]:
        image = await push_image(registry, "forged/laid", content=case.name.encode())
        await case.make(registry, image, KEY)
        return await _verdict(registry, image), image

    reason, image = place.do(story)
    return str(reason), image


@pytest.mark.parametrize("case", LAID, ids=lambda case: case.name)
def test_how_evidence_lies_beside_an_image_proves_nothing_either(place: Place, case: Forged) -> None:
    reason, image = _laid(place, case)

    assert reason == case.reason
    if case.cosign != UNASKED:
        taken = all(cosign(place.public_key, image, kind=kind).returncode == 0 for kind in KINDS)
        assert taken is (not case.reason or bool(case.cosign))


def test_where_an_image_comes_from_is_asked_by_the_gate_and_not_by_cosign(place: Place) -> None:
    case = next(one for one in ORIGINS if one.cosign == UNASKED)

    reason, image = _laid(place, case)

    assert reason == case.reason
    assert [cosign(place.public_key, image, kind=kind).returncode for kind in KINDS] == [0, 0, 0]
