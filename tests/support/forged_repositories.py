"""Whole repositories of forged evidence: what is wrong with how sound bundles lie beside an image."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from pipeline import attest, images, simplesigning
from pipeline.images import OCI_MANIFEST, Descriptor, ImageRef, Manifest, sha256
from pipeline.keys import SigningKey
from pipeline.registry import Registry
from tests.support.forgeries import MALFORMED, SPDX, drop, facts, put, sealed, twice
from tests.support.registry import push_image

Make = Callable[[Registry, ImageRef, SigningKey], Awaitable[None]]
Change = Callable[[dict[str, Any]], object]
ELSEWHERE = ImageRef("registry.example", "evil/web", "sha256:" + "0" * 64)


@dataclass(frozen=True)
class Forged:
    """One repository; ``reason`` is empty where the evidence holds all the same.

    ``cosign`` says why cosign takes signature, provenance and SBOM where we refuse, or what it refuses where we do not.
    """

    name: str
    make: Make
    reason: str = ""
    cosign: str = ""


async def attach(
    registry: Registry, image: ImageRef, bundle: bytes, label: str, *, change: Change = bool, listed: bool = True
) -> None:
    """Put a bundle beside an image, its manifest changed, as anybody can who may push."""
    await asyncio.gather(*(registry.put_blob(image.repository, blob) for blob in (attest.EMPTY, bundle)))
    document = json.loads(attest.referrer(Descriptor(OCI_MANIFEST, image.digest, 1), bundle, label).body)
    changed = change(document)
    body = changed if isinstance(changed, bytes) else attest.compact(document)
    kind = str(document["mediaType"])
    await registry.put_manifest(image.repository, sha256(body), kind, body)
    if listed:
        entry = Manifest(sha256(body), kind, body).descriptor()
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


def both(*makes: Make) -> Make:
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


def _list(change: Change, *, kind: str = images.OCI_INDEX) -> Make:
    """A whole set of evidence in a changed list; ``change`` edits it, or returns the bytes to take instead."""

    async def make(registry: Registry, image: ImageRef, key: SigningKey) -> None:
        await WHOLE(registry, image, key)
        listed = await registry.referrers(image.repository, image.digest)
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": [one.document() for one in listed]}
        changed = change(document)
        body = changed if isinstance(changed, bytes) else attest.compact(document)
        await registry.put_manifest(image.repository, images.fallback_tag(image.digest), kind, body)

    return make


def _entries(change: Change) -> Change:
    """The same edit in each entry of a list."""
    return lambda document: [change(entry) for entry in document["manifests"]]


def _layers(change: Change) -> Change:
    return lambda document: [change(layer) for layer in document["layers"]]


async def _listed_for_another(registry: Registry, image: ImageRef, key: SigningKey) -> None:
    """The whole list of another image, which is soundly signed, under this image's tag."""
    other = await push_image(registry, image.repository, tag="other", content=b"signed " + image.digest.encode())
    await WHOLE(registry, other, key)
    listed = await registry.manifest(image.repository, images.fallback_tag(other.digest))
    assert listed is not None
    await registry.put_manifest(image.repository, images.fallback_tag(image.digest), listed.media_type, listed.body)


async def _image_for_a_list(registry: Registry, image: ImageRef, key: SigningKey) -> None:
    await WHOLE(registry, image, key)
    own = await registry.manifest(image.repository, image.digest)
    assert own is not None
    await registry.put_manifest(image.repository, images.fallback_tag(image.digest), own.media_type, own.body)


async def _forgotten(registry: Registry, image: ImageRef, _: SigningKey) -> None:
    """What the list names is gone."""
    for one in await registry.referrers(image.repository, image.digest):
        await registry.delete_manifest(image.repository, one.digest)


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


def _as_configuration(document: dict[str, Any]) -> None:
    document.update(config=document["layers"][0], layers=[])


def _in_the_labels(document: dict[str, Any]) -> None:
    document["annotations"] |= {"bundle": json.dumps(document["layers"][0])}
    document["layers"] = []


def _swollen(number: int) -> Change:
    """Each layer of a size that is allowed, and all together of one that is not."""

    def change(document: dict[str, Any]) -> None:
        document["layers"][0]["size"] = (32 << 20) - number

    return change


async def _image_listed(registry: Registry, image: ImageRef, _: SigningKey) -> None:
    other = await push_image(registry, image.repository, tag="other", content=b"listed " + image.digest.encode())
    own = await registry.manifest(image.repository, other.digest)
    assert own is not None
    await registry.add_referrers(image.repository, image.digest, [own.descriptor()])


async def _list_within(registry: Registry, image: ImageRef, key: SigningKey) -> None:
    await WHOLE(registry, image, key)
    tag = images.fallback_tag(image.digest)
    listed = await registry.manifest(image.repository, tag)
    assert listed is not None
    body = attest.compact(
        {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": [listed.descriptor().document()]}
    )
    await registry.put_manifest(image.repository, tag, images.OCI_INDEX, body)


def _other_kind(layers: list[dict[str, Any]], _: SigningKey) -> None:
    layers[0]["mediaType"] = "application/json"


_REST = _with(attest.PROVENANCE, attest.SBOM)
_UNTIMELY = _provenance(lambda image, told: (image, replace(told, finished_at="2001-01-01T00:00:00Z")))
_FOREIGN = _provenance(lambda image, told: (replace(image, digest=ELSEWHERE.digest), told))
_SECOND = _provenance(lambda image, told: (image, replace(told, invocation_id="r-2")))

ANY_STATEMENT = "takes any statement of ours as the signature"
_LAST = "reads the last of two members"
_NO_SIZE = "reads no size of an entry"
_NO_KIND = "asks the registry for the kind of an entry"

REPOSITORIES = [
    Forged("nothing beside the image", _with(), "unsigned"),
    Forged("a signature alone", _with(attest.SIGNATURE), "missing_provenance"),
    Forged("an SBOM alone", _with(attest.SBOM), "unsigned"),
    Forged("a provenance alone", _with(attest.PROVENANCE), "unsigned"),
    Forged("all but the SBOM", _with(attest.SIGNATURE, attest.PROVENANCE), "missing_sbom"),
    Forged("all but the signature", _REST, "unsigned", ANY_STATEMENT),
    Forged("a layer of another kind", _with(*ALL, change=_layer_kind("application/json")), "unsigned"),
    Forged("a layer's kind in capitals", _with(*ALL, change=_layer_kind(attest.BUNDLE.upper())), "unsigned"),
    Forged(
        "a compressed bundle",
        _with(*ALL, change=_layer_kind(attest.BUNDLE + "+gzip")),
        "unsigned",
        "unpacks what is compressed",
    ),
    Forged("two layers", _with(*ALL, change=_twice), MALFORMED),
    Forged("no layer", _with(*ALL, change=put("layers", to=[])), "unsigned"),
    Forged("the bundle as the configuration", _with(*ALL, change=_as_configuration), "unsigned"),
    Forged("the bundle in the labels", _with(*ALL, change=_in_the_labels), "unsigned"),
    Forged("a layer that is said to be shorter", _with(*ALL, change=_layers(put("size", to=9))), MALFORMED),
    Forged("a layer that is said to be longer", _with(*ALL, change=_layers(put("size", to=99_999))), MALFORMED),
    Forged("a layer beyond any bundle's size", _with(*ALL, change=_layers(put("size", to=33 << 20))), "too_large"),
    Forged(
        "layers beyond all size together", both(*[_with(*ALL, change=_swollen(one)) for one in range(2)]), "too_large"
    ),
    Forged(
        "a layer that is another blob", _with(*ALL, change=_layers(put("digest", to=sha256(attest.EMPTY)))), MALFORMED
    ),
    Forged("a layer twice in its manifest", _with(*ALL, change=twice("layers")), MALFORMED, _LAST),
    Forged("another image listed as evidence", _image_listed, "unsigned"),
    Forged("a list of evidence within the list", _list_within, "unsigned"),
    Forged("not in the list", _with(*ALL, listed=False), "unsigned"),
    Forged("every bundle cut off", _with(*ALL, broken=True), MALFORMED),
    Forged("manifests that name another subject", _with(*ALL, change=_other_subject)),
    Forged("manifests that name no subject", _with(*ALL, change=drop("subject"))),
    Forged("manifests with nonsense for a label", _with(*ALL, change=_other_label)),
    Forged("manifests that call themselves something else", _with(*ALL, change=put("artifactType", to="text/plain"))),
    Forged(
        "an SBOM labelled as provenance",
        both(_with(attest.SIGNATURE, attest.SBOM), _sbom_called_provenance),
        "missing_provenance",
    ),
    Forged("a signature by a stranger beside ours", both(_by_a_stranger, WHOLE)),
    Forged("a signature by a stranger alone", both(_by_a_stranger, _REST), "wrong_key", ANY_STATEMENT),
    Forged("two good provenances", both(WHOLE, _SECOND)),
    Forged("old times in the provenance", both(_with(attest.SIGNATURE, attest.SBOM), _UNTIMELY)),
    Forged(
        "a provenance of another image beside a good signature",
        both(_with(attest.SIGNATURE, attest.SBOM), _FOREIGN),
        "wrong_subject",
    ),
    Forged("the whole list of another image", _listed_for_another, "wrong_subject"),
    Forged("an image in the place of the list", _image_for_a_list, MALFORMED),
    Forged(
        "a list without its media type",
        _list(drop("mediaType")),
        MALFORMED,
        "reads a list by what the registry calls it",
    ),
    Forged("a list of Docker's kind", _list(bool, kind=images.DOCKER_INDEX), MALFORMED),
    Forged("an empty list", _list(put("manifests", to=[])), "unsigned"),
    Forged("a list of nothing", _list(put("manifests", to=None)), "unsigned"),
    Forged("the entries twice in the list", _list(twice("manifests")), MALFORMED, _LAST),
    Forged("entries without a size", _list(_entries(drop("size"))), MALFORMED, _NO_SIZE),
    Forged("entries of negative size", _list(_entries(put("size", to=-1))), MALFORMED, _NO_SIZE),
    Forged("entries of another size", _list(_entries(put("size", to=7)))),
    Forged("entries without a kind", _list(_entries(drop("mediaType"))), MALFORMED, _NO_KIND),
    Forged(
        "entries that are called images of Docker's",
        _list(_entries(put("mediaType", to=images.DOCKER_MANIFEST))),
        "unsigned",
        _NO_KIND,
    ),
    Forged(
        "entries that are called lists", _list(_entries(put("mediaType", to=images.OCI_INDEX))), "unsigned", _NO_KIND
    ),
    Forged("entries that are called something else", _list(_entries(put("artifactType", to="text/plain")))),
    Forged("what the list names is gone", both(WHOLE, _forgotten), "unsigned"),
    Forged("the older form alone", _older(), "unsigned"),
    Forged("bundles cut off beside the older form", both(_with(*ALL, broken=True), _older()), MALFORMED),
    Forged("a stranger's bundle beside the older form", both(_by_a_stranger, _older()), "wrong_key"),
    Forged("older form: another image", _older(of=ELSEWHERE), "unsigned"),
    Forged("older form: another key", _older(by=SigningKey.generate()), "unsigned"),
    Forged("older form: no signature", _older(_annotated(None)), "unsigned"),
    Forged("older form: no base64", _older(_annotated("%%%")), "unsigned"),
    Forged("older form: a good and a bad one", _older(_bad_beside), "unsigned"),
    Forged("older form: a certificate", _older(_with_certificate), "unsigned"),
    Forged("older form: a layer of another kind", _older(_other_kind), "unsigned"),
]
