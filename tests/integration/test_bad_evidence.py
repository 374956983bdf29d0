"""What lies beside an image and proves nothing: refused at the real gate with its reason, and never committed."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from pipeline import attest
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from tests.support.forgeries import SOURCE, SPDX, facts, sealed
from tests.support.policy_world import SIGNER, Shop, deciding

STRANGER = SigningKey.generate()
ELSEWHERE = "https://forge.example/another/repository"
Attach = Callable[[Shop, ImageRef], Awaitable[None]]


def _payloads(image: ImageRef, *, source_url: str = SOURCE) -> dict[str, bytes]:
    return {
        attest.SIGNATURE: attest.signature_statement(image),
        attest.PROVENANCE: attest.provenance_statement(image, facts(source_url=source_url)),
        attest.SBOM: attest.sbom_statement(image, SPDX),
    }


async def _attached(
    shop: Shop, image: ImageRef, payloads: Mapping[str, bytes], *, by: Mapping[str, SigningKey] | None = None
) -> None:
    for kind, payload in payloads.items():
        await shop.attach(image, sealed((by or {}).get(kind, SIGNER), payload), kind)


async def _nothing(shop: Shop, image: ImageRef) -> None:
    """An image as it was pushed."""


async def _by_a_stranger(shop: Shop, image: ImageRef) -> None:
    await _attached(shop, image, _payloads(image), by=dict.fromkeys(_payloads(image), STRANGER))


async def _sbom_by_a_stranger(shop: Shop, image: ImageRef) -> None:
    await _attached(shop, image, _payloads(image), by={attest.SBOM: STRANGER})


async def _of_another_image(shop: Shop, image: ImageRef) -> None:
    await _attached(shop, image, _payloads(ImageRef(image.registry, image.repository, "sha256:" + "9" * 64)))


async def _of_another_repository(shop: Shop, image: ImageRef) -> None:
    await _attached(shop, image, _payloads(image, source_url=ELSEWHERE))


async def _with_a_tampered_sbom(shop: Shop, image: ImageRef) -> None:
    payloads = _payloads(image)
    bundle = json.loads(sealed(SIGNER, payloads.pop(attest.SBOM)))
    other = attest.sbom_statement(image, SPDX.replace(b'"web"', b'"other"'))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(other).decode()
    await _attached(shop, image, payloads)
    await shop.attach(image, attest.compact(bundle), attest.SBOM)


async def _without_an_sbom(shop: Shop, image: ImageRef) -> None:
    await _attached(shop, image, {kind: text for kind, text in _payloads(image).items() if kind != attest.SBOM})


async def _with_what_is_no_bundle(shop: Shop, image: ImageRef) -> None:
    await shop.attach(image, b"{}", attest.SIGNATURE)


BAD: Mapping[Attach, tuple[str, str]] = {
    _nothing: ("unsigned", "no valid https://sigstore.dev/cosign/sign/v1"),
    _by_a_stranger: ("wrong_key", "no trusted key made this signature"),
    _sbom_by_a_stranger: ("wrong_key", "https://spdx.dev/Document: no trusted key made this signature"),
    _of_another_image: ("wrong_subject", "about another image"),
    _of_another_repository: ("wrong_source", f"was not built from {SOURCE}"),
    _with_a_tampered_sbom: ("wrong_key", "https://spdx.dev/Document: no trusted key made this signature"),
    _without_an_sbom: ("missing_sbom", "no valid https://spdx.dev/Document"),
    _with_what_is_no_bundle: ("malformed_attestation", "known members"),
}


def test_what_proves_nothing_is_refused_for_good_with_its_reason_and_never_committed(tmp_path: Path) -> None:
    async def story(shop: Shop) -> None:
        for number, (attach, (reason, said)) in enumerate(BAD.items(), 1):
            image = await shop.image(number)
            await attach(shop, image)
            await shop.world.do(await shop.released(number, image))
            decision = await shop.decision(number)
            assert (decision.outcome, decision.reason) == ("refused", reason), attach.__name__
            assert said in decision.message
        assert not [line for line in shop.world.log() if line.startswith("Deploy")]

        await shop.world.do(await shop.release(20))
        assert (await shop.decision(20)).outcome == "accepted"

    deciding(tmp_path, story)
