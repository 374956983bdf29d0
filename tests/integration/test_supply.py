"""Signing against a real registry, with cosign as the judge of what we write and of what we refuse."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import attest, images
from pipeline.errors import Invalid, NotFound, Refused, Unavailable
from pipeline.evidence import reproduced
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef
from pipeline.keys import SigningKey
from pipeline.registry import Registry
from pipeline.supply import Link, Signed, sign_link, sign_release, sign_reproduction
from pipeline.verify import Demand, Verdict, gather_evidence, verify_image
from tests.support.components import needs
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, facts, sealed
from tests.support.judge import cosign
from tests.support.registry import push_image, running_registry

Run = Callable[[Coroutine[Any, Any, Any]], Any]
KEY = SigningKey.generate()
DEMAND = Demand(SOURCE, SHA, frozenset({BUILDER}))
OTHER_SHA = "d" * 40


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def public_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key.pub"
    path.write_bytes(KEY.public.pem)
    return path


async def _signed(registry: Registry, image: ImageRef, *, key: SigningKey = KEY, **changed: Any) -> Signed:
    return await sign_release(registry, image, key=key, provenance=facts(**changed), sbom=SPDX)


async def _verified(registry: Registry, image: ImageRef, demand: Demand | None = DEMAND) -> Verdict:
    return await verify_image(registry, image, keys=[KEY.public], demand=demand)


async def _refusal(registry: Registry, image: ImageRef, demand: Demand | None = DEMAND) -> str:
    with pytest.raises(Refused) as caught:
        await _verified(registry, image, demand)
    return caught.value.reason


async def _attach(registry: Registry, image: ImageRef, bundle: bytes, *, label: str = attest.PROVENANCE) -> str:
    """List ``bundle`` beside ``image``, as anybody who may push can."""
    await asyncio.gather(*(registry.put_blob(image.repository, blob) for blob in (attest.EMPTY, bundle)))
    manifest = attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), bundle, label)
    await registry.put_manifest(image.repository, manifest.digest, manifest.media_type, manifest.body)
    await registry.add_referrers(image.repository, image.digest, [manifest.descriptor()])
    return manifest.digest


def _with_registry(host: str, run: Run, story: Callable[[Registry], Coroutine[Any, Any, Any]]) -> Any:
    async def whole() -> Any:
        async with Registry(host, plain_http=True) as registry:
            return await story(registry)

    return run(whole())


def test_cosign_accepts_signature_provenance_sbom_and_link(host: str, run: Run, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/judge")
        signed = await _signed(registry, image)
        await sign_link(registry, image, key=KEY, link=_link(signed))
        return image

    image = _with_registry(host, run, story)

    for kind in ("", "slsaprovenance1", "spdxjson", attest.LINK):
        judged = cosign(public_key, image, kind=kind)
        assert judged.returncode == 0, judged.stderr
        assert judged.stdout


def test_cosign_accepts_what_is_said_of_a_second_build(host: str, run: Run, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/again")
        signed = await _signed(registry, image)
        for rebuilt, failure in ((image.digest, ""), ("sha256:" + "7" * 64, ""), ("", "build_failed")):
            told = attest.Reproduction(rebuilt, failure, BUILDER, "buildah 1", signed.provenance, "then", "later")
            first, second = [await sign_reproduction(registry, image, key=KEY, reproduction=told) for _ in range(2)]
            assert (len(first.added), second.added) == (1, ())
        found = await gather_evidence(registry, image, keys=[KEY.public])
        answers = {reproduced(one) for one in found.of(attest.REPRODUCTION)}
        assert answers == {(True, image.digest), (False, "sha256:" + "7" * 64), (False, "build_failed")}
        return image

    image = _with_registry(host, run, story)

    judged = cosign(public_key, image, kind=attest.REPRODUCTION)
    assert judged.returncode == 0, judged.stderr


def test_cosign_accepts_a_signed_multi_platform_index(host: str, run: Run, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        member = await registry.manifest("supply/index", (await push_image(registry, "supply/index")).digest)
        assert member is not None
        entry = {**member.descriptor().document(), "platform": {"os": "linux", "architecture": "amd64"}}
        body = attest.compact({"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [entry]})
        digest = await registry.put_manifest("supply/index", "all", images.OCI_INDEX, body)
        image = ImageRef(registry.host, "supply/index", digest)
        await _signed(registry, image)
        return image

    image = _with_registry(host, run, story)

    assert cosign(public_key, image).returncode == 0


def test_signing_twice_leaves_one_of_each(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/twice")
        first, second = await _signed(registry, image), await _signed(registry, image)
        assert (len(first.added), second.added) == (3, ())
        assert first.manifests == second.manifests
        assert len(await registry.referrers(image.repository, image.digest)) == 3

    _with_registry(host, run, story)


def test_two_signers_at_once_leave_one_of_each(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/both")
        await asyncio.gather(_signed(registry, image), _signed(registry, image))
        assert len(await registry.referrers(image.repository, image.digest)) == 3

    _with_registry(host, run, story)


def test_many_images_of_one_repository_are_signed_at_once(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        pushed = [await push_image(registry, "supply/many", content=b"%d" % number) for number in range(8)]
        signed = await asyncio.gather(*(_signed(registry, image) for image in pushed))
        assert [len(one.added) for one in signed] == [3] * 8

    _with_registry(host, run, story)


def test_a_signer_that_died_before_the_list_is_finished_by_the_next(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/died")
        signed = await _signed(registry, image)
        tag = await registry.manifest(image.repository, images.fallback_tag(image.digest))
        assert tag is not None
        await registry.delete_manifest(image.repository, tag.digest)
        assert await _refusal(registry, image) == "unsigned"
        assert (await _signed(registry, image)).manifests == signed.manifests
        assert (await _verified(registry, image)).signed

    _with_registry(host, run, story)


def test_what_is_listed_but_lost_is_stored_again(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/lost")
        signed = await _signed(registry, image)
        await registry.delete_manifest(image.repository, signed.provenance)
        assert await _refusal(registry, image) == "missing_provenance"
        await _signed(registry, image)
        assert (await _verified(registry, image)).via == "provenance"

    _with_registry(host, run, story)


def test_an_image_that_the_registry_does_not_have_is_not_signed(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        with pytest.raises(NotFound) as caught:
            await _signed(registry, ImageRef(registry.host, "supply/none", "sha256:" + "0" * 64))
        assert caught.value.reason == "image_unknown"

    _with_registry(host, run, story)


def test_an_image_of_another_registry_is_not_looked_for_here(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        with pytest.raises(Invalid) as caught:
            await _verified(registry, ImageRef("registry.example", "supply/none", "sha256:" + "0" * 64))
        assert caught.value.reason == "wrong_registry"

    _with_registry(host, run, story)


def test_a_check_that_cannot_be_made_is_unavailable_and_no_verdict(tmp_path: Path, run: Run) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/down")
        await _signed(registry, image)
        return image

    with running_registry(tmp_path) as host:
        image = _with_registry(host, run, story)
    with pytest.raises(Unavailable):
        _with_registry(host, run, lambda registry: _verified(registry, image))


def test_a_sound_set_gives_a_verdict_with_its_proofs(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/sound")
        signed = await _signed(registry, image)
        for demand in (DEMAND, None):
            verdict = await _verified(registry, image, demand)
            assert (verdict.digest, verdict.signed, verdict.source_url, verdict.sha) == (
                image.digest,
                True,
                SOURCE,
                SHA,
            )
            assert verdict.predicates == {kind: (digest,) for kind, digest in signed.manifests.items()}

    _with_registry(host, run, story)


def test_an_image_signed_by_a_stranger_is_refused(host: str, run: Run, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/stranger")
        await _signed(registry, image, key=SigningKey.generate())
        assert await _refusal(registry, image) == "wrong_key"
        return image

    assert cosign(public_key, _with_registry(host, run, story)).returncode != 0


def test_an_sbom_alone_is_no_signature_though_cosign_takes_it_for_one(host: str, run: Run, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/sbom-only")
        await _attach(registry, image, sealed(KEY, attest.sbom_statement(image, SPDX)), label=attest.SIGNATURE)
        assert await _refusal(registry, image, None) == "unsigned"
        return image

    assert cosign(public_key, _with_registry(host, run, story)).returncode == 0


def test_good_objects_beside_foreign_ones_still_hold(host: str, run: Run, public_key: Path) -> None:
    async def story(registry: Registry) -> ImageRef:
        image = await push_image(registry, "supply/beside")
        await _signed(registry, image)
        await _attach(registry, image, sealed(SigningKey.generate(), attest.signature_statement(image)))
        await _attach(registry, image, b"no bundle at all")
        assert (await _verified(registry, image)).signed
        return image

    image = _with_registry(host, run, story)

    assert cosign(public_key, image).returncode == 0


def test_statements_copied_from_another_image_prove_nothing(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        signed = await push_image(registry, "supply/copied")
        await _signed(registry, signed)
        other = await push_image(registry, "supply/copied", content=b"evil")
        listed = await registry.referrers(signed.repository, signed.digest)
        await registry.add_referrers(other.repository, other.digest, listed)
        assert await _refusal(registry, other) == "wrong_subject"

    _with_registry(host, run, story)


def test_a_list_that_is_no_index_is_refused(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/squatted")
        await push_image(registry, image.repository, tag=images.fallback_tag(image.digest), content=b"x")
        assert await _refusal(registry, image) == "malformed_attestation"

    _with_registry(host, run, story)


def _link(signed: Signed, **changed: Any) -> Link:
    link = Link(SOURCE, "refs/heads/main", OTHER_SHA, "e" * 40, "key", signed.provenance, "r-2")
    return replace(link, **changed)


def test_a_link_makes_the_image_that_of_another_commit_once(host: str, run: Run) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/link")
        signed = await _signed(registry, image)
        demand = replace(DEMAND, sha=OTHER_SHA)
        assert await _refusal(registry, image, demand) == "wrong_commit"
        for _ in range(2):
            await sign_link(registry, image, key=KEY, link=_link(signed))
        assert (await _verified(registry, image, demand)).via == "link"
        assert len(await registry.referrers(image.repository, image.digest)) == 4

    _with_registry(host, run, story)


@pytest.mark.parametrize(
    "changed", [{"source_url": "https://forge.example/evil"}, {"provenance": "sha256:" + "0" * 64}]
)
def test_a_link_without_its_original_is_not_signed(host: str, run: Run, changed: dict[str, str]) -> None:
    async def story(registry: Registry) -> None:
        image = await push_image(registry, "supply/broken-link", content=repr(changed).encode())
        signed = await _signed(registry, image)
        with pytest.raises(Refused) as caught:
            await sign_link(registry, image, key=KEY, link=_link(signed, **changed))
        assert caught.value.reason == "broken_link"
        assert len(await registry.referrers(image.repository, image.digest)) == 3

    _with_registry(host, run, story)


def test_cosigns_own_list_keeps_what_we_wrote(host: str, run: Run, public_key: Path, tmp_path: Path) -> None:
    """Somebody else attaches with cosign in between; both writers' objects stay, and both verifiers pass."""
    (tmp_path / "key.pem").write_bytes(SigningKey.generate().pem)
    (tmp_path / "scan.json").write_text(json.dumps({"findings": []}))
    image = _with_registry(host, run, _pushed_and_signed)
    key, offline = ("--key", "other.key"), ("--use-signing-config=false", "--tlog-upload=false", "-y")
    environment = {"COSIGN_PASSWORD": "", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for argv in (
        ["import-key-pair", "--key", "key.pem", "--output-key-prefix", "other"],
        ["attest", *key, *offline, "--type", "https://scan.example/v1", "--predicate", "scan.json", str(image)],
    ):
        subprocess.run([needs("cosign"), *argv], cwd=tmp_path, env=environment, check=True, capture_output=True)

    verdict = _with_registry(host, run, lambda registry: _verified(registry, image))

    assert verdict.signed
    assert cosign(public_key, image, kind="slsaprovenance1").returncode == 0


async def _pushed_and_signed(registry: Registry) -> ImageRef:
    image = await push_image(registry, "supply/shared")
    await _signed(registry, image)
    return image
