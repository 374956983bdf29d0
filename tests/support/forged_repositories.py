"""Whole repositories of forged evidence, and which case stands for each forgery that cosign was tried with.

A bundle alone is in ``forgeries``; here is what is wrong with how bundles lie beside an image.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from pipeline import attest, images, simplesigning
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef, Manifest, sha256
from pipeline.keys import SigningKey
from pipeline.registry import Registry
from tests.support.forgeries import FORGED, GOOD, SPDX, facts, sealed

Make = Callable[[Registry, ImageRef, SigningKey], Awaitable[None]]
Change = Callable[[dict[str, Any]], object]
ELSEWHERE = ImageRef("registry.example", "evil/web", "sha256:" + "0" * 64)


@dataclass(frozen=True)
class Forged:
    """One repository; ``reason`` is empty where the evidence holds all the same."""

    name: str
    make: Make
    reason: str = ""


async def attach(
    registry: Registry, image: ImageRef, bundle: bytes, label: str, *, change: Change = bool, listed: bool = True
) -> None:
    """Put a bundle beside an image, its manifest changed, as anybody can who may push."""
    await registry.put_blob(image.repository, attest.EMPTY)
    await registry.put_blob(image.repository, bundle)
    document = json.loads(attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), bundle, label).body)
    change(document)
    body = attest.compact(document)
    await registry.put_manifest(image.repository, sha256(body), OCI_MANIFEST, body)
    if listed:
        entry = Manifest(sha256(body), OCI_MANIFEST, body).descriptor()
        await registry.add_referrers(image.repository, image.digest, [entry])


def _statements(image: ImageRef) -> dict[str, bytes]:
    return {
        attest.SIGNATURE: attest.signature_statement(image),
        attest.PROVENANCE: attest.provenance_statement(image, facts()),
        attest.SBOM: attest.sbom_statement(image, SPDX),
    }


def _with(*kinds: str, change: Change = bool, listed: bool = True, broken: bool = False) -> Make:
    """These statements and no other, each in a sound bundle, or in one that was cut off."""

    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        for kind in kinds:
            bundle = sealed(key, _statements(image)[kind])
            await attach(registry, image, bundle[:-20] if broken else bundle, kind, change=change, listed=listed)

    return make


ALL = (attest.SIGNATURE, attest.PROVENANCE, attest.SBOM)
WHOLE = _with(*ALL)


def _and(*makes: Make) -> Make:
    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        for one in makes:
            await one(registry, image, key)

    return make


def _provenance(change: Callable[[ImageRef, attest.Provenance], tuple[ImageRef, attest.Provenance]]) -> Make:
    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        subject, told = change(image, facts())
        await attach(registry, image, sealed(key, attest.provenance_statement(subject, told)), attest.PROVENANCE)

    return make


async def _by_a_stranger(registry: Registry, image: ImageRef, _: SigningKey) -> None:
    bundle = sealed(SigningKey.generate(), attest.signature_statement(image))
    await attach(registry, image, bundle, attest.SIGNATURE)


async def _sbom_called_provenance(registry: Registry, image: ImageRef, key: SigningKey) -> None:
    await attach(registry, image, sealed(key, attest.sbom_statement(image, SPDX)), attest.PROVENANCE)


async def _list_without_a_kind(registry: Registry, image: ImageRef, _: SigningKey) -> None:
    listed = await registry.referrers(image.repository, image.digest)
    body = attest.compact({"schemaVersion": 2, "manifests": [one.document() for one in listed]})
    await registry.put_manifest(image.repository, images.fallback_tag(image.digest), images.OCI_INDEX, body)


def _older(change: Callable[[list[dict[str, Any]], SigningKey], object] = lambda *_: None, **given: Any) -> Make:
    """The older form of a signature, its layers changed; ``given``: who signs it, and of which image it speaks."""

    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        signed = simplesigning.payload(given.get("of") or image)
        signature = (given.get("by") or key).sign(signed)
        layers = [simplesigning.layer(signed, simplesigning.noted(signature))]
        change(layers, key)
        for blob in (signed, simplesigning.config(layers), *given.get("blobs", ())):
            await registry.put_blob(image.repository, blob)
        made = simplesigning.manifest(layers)
        await registry.put_manifest(image.repository, simplesigning.tag(image.digest), made.media_type, made.body)

    return make


def _annotated(value: object) -> Callable[[list[dict[str, Any]], SigningKey], None]:
    def change(layers: list[dict[str, Any]], _: SigningKey) -> None:
        layers[0]["annotations"] = {} if value is None else {simplesigning.ANNOTATION: value}

    return change


def _with_certificate(layers: list[dict[str, Any]], _: SigningKey) -> None:
    layers[0]["annotations"]["dev.sigstore.cosign/certificate"] = "-----BEGIN CERTIFICATE-----"


def _bad_beside(layers: list[dict[str, Any]], _: SigningKey) -> None:
    bad = {simplesigning.ANNOTATION: base64.b64encode(SigningKey.generate().sign(b"x")).decode()}
    layers.append({**layers[0], "annotations": bad})


def _layer_kind(kind: str) -> Change:
    return lambda document: document["layers"][0].update(mediaType=kind)


def _twice(document: dict[str, Any]) -> None:
    document["layers"] *= 2


def _other_subject(document: dict[str, Any]) -> None:
    document["subject"]["digest"] = "sha256:" + "0" * 64


def _other_label(document: dict[str, Any]) -> None:
    document["annotations"] = {"dev.sigstore.bundle.predicateType": "nonsense"}


_REST = _with(attest.PROVENANCE, attest.SBOM)
_UNTIMELY = _provenance(lambda image, told: (image, replace(told, finished_at="2001-01-01T00:00:00Z")))
_FOREIGN = _provenance(lambda image, told: (replace(image, digest=ELSEWHERE.digest), told))
_SECOND = _provenance(lambda image, told: (image, replace(told, invocation_id="r-2")))

REPOSITORIES = [
    Forged("nothing beside the image", _with(), "unsigned"),
    Forged("a signature alone", _with(attest.SIGNATURE), "missing_provenance"),
    Forged("an SBOM alone", _with(attest.SBOM), "unsigned"),
    Forged("a provenance alone", _with(attest.PROVENANCE), "unsigned"),
    Forged("a layer of another kind", _with(*ALL, change=_layer_kind("application/json")), "unsigned"),
    Forged("a compressed bundle", _with(*ALL, change=_layer_kind(attest.BUNDLE + "+gzip")), "unsigned"),
    Forged("two layers", _with(*ALL, change=_twice), "malformed_attestation"),
    Forged("not in the list", _with(*ALL, listed=False), "unsigned"),
    Forged("every bundle cut off", _with(*ALL, broken=True), "malformed_attestation"),
    Forged("manifests that name another subject", _with(*ALL, change=_other_subject)),
    Forged("manifests with nonsense for a label", _with(*ALL, change=_other_label)),
    Forged("an SBOM labelled as provenance", _and(_with(attest.SIGNATURE, attest.SBOM), _sbom_called_provenance),
           "missing_provenance"),
    Forged("a signature by a stranger beside ours", _and(_by_a_stranger, WHOLE)),
    Forged("a signature by a stranger alone", _and(_by_a_stranger, _REST), "wrong_key"),
    Forged("two good provenances", _and(WHOLE, _SECOND)),
    Forged("old times in the provenance", _and(_with(attest.SIGNATURE, attest.SBOM), _UNTIMELY)),
    Forged("a provenance of another image beside a good signature",
           _and(_with(attest.SIGNATURE, attest.SBOM), _FOREIGN), "wrong_subject"),
    Forged("a list without its media type", _and(WHOLE, _list_without_a_kind), "malformed_attestation"),
    Forged("the older form alone", _older(), "unsigned"),
    Forged("bundles cut off beside the older form", _and(_with(*ALL, broken=True), _older()), "malformed_attestation"),
    Forged("a stranger's bundle beside the older form", _and(_by_a_stranger, _older()), "wrong_key"),
    Forged("older form: another image", _older(of=ELSEWHERE), "unsigned"),
    Forged("older form: another key", _older(by=SigningKey.generate()), "unsigned"),
    Forged("older form: no signature", _older(_annotated(None)), "unsigned"),
    Forged("older form: no base64", _older(_annotated("%%%")), "unsigned"),
    Forged("older form: a good and a bad one", _older(_bad_beside), "unsigned"),
    Forged("older form: a certificate", _older(_with_certificate), "unsigned"),
]  # fmt: skip

REFERENCE: dict[str, tuple[str, ...]] = {
    "nothing signed; the image is not there": ("nothing beside the image",),
    "bundle truncated; broken; empty": ("a truncated bundle", "an empty bundle", "every bundle cut off"),
    "bundle with an unknown field; a duplicate key": (
        "unknown member in the bundle", "unknown member in the envelope", "a member twice in the bundle",
    ),
    "another layer type; two layers; a compressed layer": (
        "a layer of another kind", "two layers", "a compressed bundle",
    ),
    "not in the index; an index without its media type": ("not in the list", "a list without its media type"),
    "legacy: payload names another digest; docker-reference of another repository": ("older form: another image",),
    "legacy: other key; flipped payload byte": ("older form: another key", "flipped payload"),
    "legacy: annotation missing; not base64": ("older form: no signature", "older form: no base64"),
    "legacy: two signatures, one bad": ("older form: a good and a bad one",),
    "legacy signature and nothing else": ("the older form alone",),
    "bundle by another key, with any hint": ("other key", "other key with our hint"),
    "flipped byte of the payload; of the signature; a signature cut off, longer, zero, raw": (
        "flipped payload", "flipped signature", "truncated signature", "signature with a tail", "zero signature",
        "raw signature",
    ),
    "signature of another statement; without the payload's type": (
        "signature of another statement", "payload signed without its type",
    ),
    "the twin of a signature, which is as good": ("twin signature",),
    "statement for another image; empty, missing subject; only gitCommit": (
        "another image", "empty subject", "no subject", "only a git commit", "digest under another algorithm's name",
    ),
    "two or zero DSSE signatures, both good or not": ("two signatures", "two signatures, one bad", "no signature"),
    "unknown field in the statement; in the subject; duplicate key": (
        "unknown member in the statement", "unknown member in the subject", "a member twice in the statement",
    ),
    "byte order mark; UTF-16; trailing text; a predicate that is text": (
        "byte order mark", "UTF-16", "text after the statement", "predicate is text", "half a surrogate pair", "NaN",
    ),
    "upper-case hex in the subject; more than 1024 subjects": ("upper-case digest", "1025 subjects"),
    "subject or digest of another shape": ("subject is text", "digest is a list"),
    "annotation says SLSA, statement says SPDX": ("an SBOM labelled as provenance", "SPDX by name only"),
    "two referrers, one by another key": ("a signature by a stranger beside ours",),
    "two different good provenances": ("two good provenances",),
    "provenance for another image beside a good signature": ("a provenance of another image beside a good signature",),
    "SBOM or provenance only; signature only": ("an SBOM alone", "a provenance alone", "a signature alone"),
    "bundles broken, and a good .sig": ("bundles cut off beside the older form",),
    "one bundle by a stranger, and a good .sig": ("a stranger's bundle beside the older form",),
    "a bundle by a stranger in the place of ours": ("a signature by a stranger alone",),
    "a bare key never expires; old timestamps in the statement": ("old times in the provenance",),
    "expired leaf certificate, legacy": ("older form: a certificate",),
    "expired leaf certificate in the bundle, also for a key": ("a certificate for a key",),
    "a log entry that nobody checks; none": ("a log entry that nobody checks", "no log entries", "null log entries"),
    "nonsense for _type; the older version": ("unknown statement type", "statement v0.1"),
    "subject of the manifest absent or wrong; labels wrong": (
        "manifests that name another subject", "manifests with nonsense for a label",
    ),
    "hint wrong or missing; keyid empty, or the hint": ("wrong hint", "no hint", "empty key id", "key id"),
    "SLSA content of any kind": (
        "provenance of nothing", "provenance without a source", "unknown external parameter", "another build type",
        "no commit",
    ),
    "predicate absent; snake_case predicate_type; not a text": (
        "no predicate", "snake-case predicate type", "predicate type is a list",
    ),
    "envelope: payload or signature not base64, another payload type, another bundle version": (
        "payload is not base64", "signature is not base64", "another payload type", "another bundle version",
    ),
    "JSON without end; nothing at all": ("nested without end", "empty payload"),
    "a link by name, or to no provenance": ("link by name only", "link without a provenance"),
}  # fmt: skip
"""What the reference page says was forged, by its words, to the cases here and in ``forgeries`` that stand for it."""

KNOWN = {one.name for one in (*FORGED, *GOOD, *REPOSITORIES)}
