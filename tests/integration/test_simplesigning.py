"""The older form of a signature, and the second form of an SBOM, in a real registry, judged by cosign."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import simplesigning
from pipeline.errors import Invalid
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from pipeline.registry import Registry
from pipeline.supply import sign_release
from tests.support.forgeries import CYCLONEDX, SPDX, facts
from tests.support.judge import cosign
from tests.support.registry import push_image, running_registry

KEY = SigningKey.generate()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pub"
    path.write_bytes(KEY.public.pem)
    return path


async def _signed(registry: Registry, image: ImageRef, *, key: SigningKey = KEY) -> None:
    await sign_release(registry, image, key=key, provenance=facts(), sbom=SPDX)


def _with_registry(host: str, story: Callable[[Registry], Coroutine[Any, Any, Any]]) -> Any:
    async def whole() -> Any:
        async with Registry(host, plain_http=True) as registry:
            return await story(registry)

    return asyncio.run(whole())


def test_cosign_accepts_the_signature_in_its_older_form(host: str, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/older")
        await _signed(registry, image)
        return image

    image = _with_registry(host, story)

    judged = cosign(public_key, image, older=True)
    assert judged.returncode == 0, judged.stderr
    assert image.digest in judged.stdout


def test_signatures_of_others_in_the_older_form_stay_beside_ours(host: str, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/older-two")
        await _signed(registry, image, key=SigningKey.generate())
        await _signed(registry, image)
        await _signed(registry, image)
        there = await registry.manifest(image.repository, simplesigning.tag(image.digest))
        assert there is not None
        assert len(simplesigning.layers_of(there.body)) == 2
        return image

    image = _with_registry(host, story)

    assert cosign(public_key, image, older=True).returncode == 0


def test_an_image_that_nobody_signed_has_no_older_signature_forcosign(host: str, public_key: Path) -> None:
    image = _with_registry(host, lambda registry: push_image(registry, "supply/older-none"))

    assert cosign(public_key, image, older=True).returncode != 0


def test_cosign_accepts_the_sbom_in_both_forms(host: str, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/both-forms")
        await sign_release(registry, image, key=KEY, provenance=facts(), sbom=SPDX, cyclonedx=CYCLONEDX)
        return image

    image = _with_registry(host, story)

    for kind in ("spdxjson", "cyclonedx"):
        judged = cosign(public_key, image, kind=kind)
        assert judged.returncode == 0, judged.stderr


def test_what_is_no_cyclonedx_document_is_not_attested(host: str) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/no-bom")
        with pytest.raises(Invalid):
            await sign_release(registry, image, key=KEY, provenance=facts(), sbom=SPDX, cyclonedx=SPDX)

    _with_registry(host, story)
