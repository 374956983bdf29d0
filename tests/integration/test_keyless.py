"""Signatures without a key: a Fulcio and a Rekor of the tests over a socket, a real registry, cosign as the judge."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import attest
from pipeline.__main__ import what_signs
from pipeline.errors import EncliiError, Invalid, Refused, Unavailable
from pipeline.evidence import Demand, open_bundle
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef
from pipeline.keyless import Keyless, open_root
from pipeline.keys import SigningKey, write_public
from pipeline.registry import Registry
from pipeline.settings import Settings
from pipeline.supply import sign_release
from pipeline.trust import Signs, accepted, named
from pipeline.verify import verify_image
from tests.support.forgeries import BUILDER, SHA, SOURCE, SPDX, facts, sealed
from tests.support.judge import cosign_identity
from tests.support.registry import push_image, running_registry
from tests.support.sigstore import ISSUER, SUBJECT, Authority, Sigstore, running_sigstore

DEMAND = Demand(SOURCE, SHA, frozenset({BUILDER}))
IMAGE = ImageRef("registry.example", "shop/web", "sha256:" + "1" * 64)
PAYLOAD = attest.signature_statement(IMAGE)


@pytest.fixture(scope="module")
def sigstore() -> Iterator[Sigstore]:
    with running_sigstore() as private:
        yield private


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def _settings(home: Path, sigstore: Sigstore, *, token: str | None = None, **changed: Any) -> Settings:
    (home / "keys").mkdir(exist_ok=True)
    sigstore.write_root(home / "keys/trusted_root.json")
    (home / "keys/identity.token").write_text(sigstore.authority.token() if token is None else token)
    told = {
        "home": home, "signing_uri": "keyless:", "fulcio_url": sigstore.url, "rekor_url": sigstore.url,
        "keyless_identity": SUBJECT, "keyless_issuer": ISSUER,
    }  # fmt: skip
    return Settings(**(told | changed))


def _signing(told: Settings) -> Keyless:
    signs = asyncio.run(what_signs(told))
    assert isinstance(signs, Keyless)
    return signs


def _reason(bundle: bytes, told: Settings) -> str:
    with pytest.raises(Refused) as caught:
        open_bundle(bundle, image_digest=IMAGE.digest, keys=accepted(told), manifest="")
    return caught.value.reason


async def _signed(host: str, signs: Signs, repository: str) -> ImageRef:
    async with Registry(host, plain_http=True) as registry:
        image = await push_image(registry, repository)
        await sign_release(registry, image, key=signs, provenance=facts(), sbom=SPDX)
        again = await sign_release(registry, image, key=signs, provenance=facts(), sbom=SPDX)
        assert again.added == ()
        return image


def test_cosign_accepts_what_an_identity_signed_and_refuses_it_as_anothers(
    sigstore: Sigstore, host: str, tmp_path: Path
) -> None:
    told = _settings(tmp_path, sigstore)
    root, ended = tmp_path / "keys/trusted_root.json", sigstore.write_root(tmp_path / "ended.json", ended=True)

    async def story() -> ImageRef:
        image = await _signed(host, await what_signs(told), "keyless/judge")
        async with Registry(host, plain_http=True) as registry:
            assert (await verify_image(registry, image, keys=accepted(told), demand=DEMAND)).signed
        return image

    image = asyncio.run(story())

    def judged(root: Path = root, subject: str = SUBJECT, issuer: str = ISSUER, **asked: Any) -> int:
        return cosign_identity(root, image, subject=subject, issuer=issuer, **asked).returncode

    assert [judged(), judged(older=True)] == [0, 0]
    assert [judged(kind="slsaprovenance1"), judged(kind="spdxjson")] == [0, 0]
    assert judged(subject="https://stranger.example") != 0
    assert judged(issuer="https://stranger.example") != 0
    assert judged(root=ended) != 0


def _without_log(bundle: dict[str, Any]) -> None:
    del bundle["verificationMaterial"]["tlogEntries"]


def _other_payload(bundle: dict[str, Any]) -> None:
    other = attest.signature_statement(ImageRef(IMAGE.registry, IMAGE.repository, "sha256:" + "2" * 64))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(other).decode()


def _other_time(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1"


def _later(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"][0]["logIndex"] = "77"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without_log, "missing_log_entry"),
        (_other_payload, "untrusted_certificate"),
        (_other_time, "expired_certificate"),
        (_later, "untrusted_certificate"),
        (lambda bundle: bundle["verificationMaterial"].update(publicKey={"hint": ""}), "malformed_attestation"),
        (lambda bundle: bundle["verificationMaterial"]["certificate"].update(rawBytes="AA=="), "malformed_attestation"),
    ],
)
def test_a_changed_bundle_is_refused_with_its_reason(
    change: Callable[[dict[str, Any]], None], reason: str, sigstore: Sigstore, tmp_path: Path
) -> None:
    told = _settings(tmp_path, sigstore)
    bundle = json.loads(asyncio.run(_signing(told).bundle(PAYLOAD)))
    change(bundle)

    assert _reason(attest.compact(bundle), told) == reason


def test_another_identity_another_issuer_and_another_root_are_refused(sigstore: Sigstore, tmp_path: Path) -> None:
    told = _settings(tmp_path, sigstore)
    bundle = asyncio.run(_signing(told).bundle(PAYLOAD))
    assert open_bundle(bundle, image_digest=IMAGE.digest, keys=accepted(told), manifest="").signer == named(
        SUBJECT, ISSUER
    )

    def refused(**changed: Any) -> str:
        return _reason(bundle, _settings(tmp_path, sigstore, **changed))

    sigstore.write_root(tmp_path / "ended.json", ended=True)
    with running_sigstore() as other:
        other.write_root(tmp_path / "other.json")
    assert refused(keyless_identity="https://stranger.example") == "wrong_identity"
    assert refused(keyless_issuer="https://stranger.example") == "wrong_identity"
    assert refused(sigstore_root=Path("ended.json")) == "expired_certificate"
    assert refused(sigstore_root=Path("other.json")) == "untrusted_certificate"


def test_an_identity_is_accepted_beside_a_key_and_never_in_its_place(sigstore: Sigstore, tmp_path: Path) -> None:
    told, key = _settings(tmp_path, sigstore), SigningKey.generate()
    by_key, by_identity = sealed(key, PAYLOAD), asyncio.run(_signing(told).bundle(PAYLOAD))
    assert _reason(by_key, told) == "wrong_key"

    (tmp_path / "keys/accepted").mkdir()
    write_public(tmp_path / "keys/accepted/former.pub", key.public)

    for bundle in (by_key, by_identity):
        open_bundle(bundle, image_digest=IMAGE.digest, keys=accepted(told), manifest="")
    with pytest.raises(Refused) as caught:
        open_bundle(by_identity, image_digest=IMAGE.digest, keys=[key.public], manifest="")
    assert caught.value.reason == "wrong_key"


@pytest.mark.parametrize(
    ("token", "changed", "kind", "reason"),
    [
        ("", {}, Unavailable, "bad_token"),
        ("no.token.atall", {}, Unavailable, "bad_token"),
        (None, {"identity_token": "keys/none"}, Unavailable, "bad_token"),
        (None, {"fulcio_url": "http://127.0.0.1:9"}, Unavailable, "sigstore_unavailable"),
        (None, {"keyless_identity": "https://other.example"}, Refused, "wrong_identity"),
        (None, {"keyless_issuer": ""}, Invalid, "bad_identity"),
        (None, {"sigstore_root": Path("keys/none.json")}, Invalid, "bad_trusted_root"),
        (None, {"sigstore_root": Path("keys/identity.token")}, Invalid, "bad_trusted_root"),
    ],
)
def test_a_signer_without_what_it_needs_says_which(
    token: str | None, changed: dict[str, Any], kind: type[EncliiError], reason: str, sigstore: Sigstore, tmp_path: Path
) -> None:
    told = _settings(tmp_path, sigstore, token=token, **changed)

    with pytest.raises(kind) as caught:
        asyncio.run(what_signs(told))

    assert caught.value.reason == reason
    assert (tmp_path / "keys/identity.token").read_text()[-20:] not in str(caught.value) or token == ""


def test_a_stranger_to_fulcio_gets_no_certificate(sigstore: Sigstore, tmp_path: Path) -> None:
    forged = Authority().token()  # by another provider's key

    with pytest.raises(Unavailable) as caught:
        asyncio.run(what_signs(_settings(tmp_path, sigstore, token=forged)))

    assert caught.value.reason == "sigstore_unavailable"
    assert forged[-20:] not in str(caught.value)


def test_a_log_that_is_down_gives_no_signature_and_what_is_logged_too_late_never_leaves(tmp_path: Path) -> None:
    with running_sigstore() as private:
        signing = _signing(_settings(tmp_path, private))
        private.down = True
        with pytest.raises(Unavailable) as down:
            asyncio.run(signing.bundle(PAYLOAD))

        private.down, private.log.ahead = False, 3600
        with pytest.raises(Refused) as late:
            asyncio.run(signing.bundle(PAYLOAD))

    assert (down.value.reason, late.value.reason) == ("sigstore_unavailable", "expired_certificate")


def test_a_certificate_is_renewed_before_it_ends_and_kept_until_then(tmp_path: Path) -> None:
    async def signs(lifetime: timedelta) -> int:
        with running_sigstore(Authority(lifetime=lifetime)) as private:
            signing = await what_signs(_settings(tmp_path, private))
            assert isinstance(signing, Keyless)
            for _ in range(2):
                await signing.bundle(PAYLOAD)
            return private.issued

    assert asyncio.run(signs(timedelta(minutes=10))) == 1
    assert asyncio.run(signs(timedelta(seconds=80))) == 3  # shorter than what is kept to spare


def test_an_unsigned_bundle_beside_an_image_is_refused_by_cosign_too(
    sigstore: Sigstore, host: str, tmp_path: Path
) -> None:
    told = _settings(tmp_path, sigstore)

    async def story() -> ImageRef:
        signs = await what_signs(told)
        assert isinstance(signs, Keyless)
        async with Registry(host, plain_http=True) as registry:
            image = await push_image(registry, "keyless/unlogged")
            bundle = json.loads(await signs.bundle(attest.signature_statement(image)))
            _without_log(bundle)
            data = attest.compact(bundle)
            manifest = attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), data, attest.SIGNATURE)
            await asyncio.gather(*(registry.put_blob(image.repository, blob) for blob in (attest.EMPTY, data)))
            await registry.put_manifest(image.repository, manifest.digest, manifest.media_type, manifest.body)
            await registry.add_referrers(image.repository, image.digest, [manifest.descriptor()])
            with pytest.raises(Refused) as caught:
                await verify_image(registry, image, keys=accepted(told), demand=DEMAND)
            assert caught.value.reason == "missing_log_entry"
            return image

    image = asyncio.run(story())

    assert cosign_identity(tmp_path / "keys/trusted_root.json", image, subject=SUBJECT, issuer=ISSUER).returncode != 0


def test_a_root_is_read_and_trusts_whom_it_names(sigstore: Sigstore, tmp_path: Path) -> None:
    root = open_root(sigstore.write_root(tmp_path / "root.json"))

    assert root.identity(SUBJECT, ISSUER).name == f"{SUBJECT} by {ISSUER}"
