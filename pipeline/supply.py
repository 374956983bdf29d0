"""Signs an image and attaches what is known of it: signature, provenance and SBOM, or a link to another commit.

Each object is determined by its facts and the key, so a second call finds the first one's objects and adds nothing.
Success is said only after everything was read back from the registry and verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline import attest, evidence, simplesigning
from pipeline.attest import Link, Provenance, Reproduction
from pipeline.errors import Conflict, Invalid, NotFound, Refused
from pipeline.evidence import DEFAULT, Evidence
from pipeline.images import Descriptor, ImageRef, Manifest, sha256
from pipeline.registry import Registry
from pipeline.registry_http import both, together
from pipeline.seen import Seen
from pipeline.trust import Identity, Signs, Trusted, checked_with
from pipeline.verify import Demand, gather_evidence, judge

__all__ = ["Link", "Provenance", "Signed", "sign_link", "sign_release", "sign_reproduction", "sign_summary"]

TRIES = 6


@dataclass(frozen=True)
class Signed:
    """What lies beside ``image`` and was read back: predicate type → digest of its referrer manifest.

    ``added`` names those that were not listed before; ``subject`` is the image's own manifest.
    """

    image: ImageRef
    subject: Manifest
    manifests: Mapping[str, str]
    added: tuple[str, ...]

    @property
    def provenance(self) -> str:
        """What a later link names as the original."""
        return self.manifests[attest.PROVENANCE]


@dataclass(frozen=True)
class _Attachment:
    predicate_type: str
    bundle: bytes
    manifest: Manifest

    def listed(self) -> Descriptor:
        body = self.manifest.body
        return Descriptor(self.manifest.media_type, self.manifest.digest, len(body), attest.BUNDLE)


async def sign_release(
    registry: Registry,
    image: ImageRef,
    *,
    key: Signs,
    provenance: Provenance,
    sbom: bytes,
    cyclonedx: bytes | None = None,
) -> Signed:
    """Attach signature, SLSA provenance and the SPDX document in ``sbom`` to ``image``, and a CycloneDX one if given.

    Raises NotFound when the registry has no such image, Invalid for an SBOM that is none, Unavailable, Conflict.
    """
    payloads = {
        attest.SIGNATURE: attest.signature_statement(image),
        attest.PROVENANCE: attest.provenance_statement(image, provenance),
        attest.SBOM: attest.sbom_statement(image, sbom),
    }
    if cyclonedx is not None:
        payloads[attest.CYCLONEDX] = attest.cyclonedx_statement(image, cyclonedx)
    demand = Demand(provenance.source_url, provenance.sha, frozenset({provenance.builder_id}))
    attaching = _attach(registry, image, payloads, key, check=lambda found: judge(found, image, demand))
    signed, _ = await both(attaching, _sign_simply(registry, image, key))
    return signed


async def sign_link(
    registry: Registry,
    image: ImageRef,
    *,
    key: Signs,
    link: Link,
    accepted: Sequence[Trusted] = (),
    seen: Seen | None = None,
) -> Signed:
    """Attach the link attestation that gives ``link.sha`` this image; ``accepted`` may have signed the original.

    ``seen`` holds what was read beside images before, the original's part of which is not read again.
    Raises Refused ``broken_link`` when the provenance that it names does not hold for this image and source.
    """
    payloads = {attest.LINK: attest.link_statement(image, link)}
    keys = (checked_with(key), *accepted)
    seen = Seen() if seen is None else seen
    _check_original(await gather_evidence(registry, image, keys=keys, seen=seen), link)
    return await _attach(
        registry, image, payloads, key, keys, check=lambda found: _check_original(found, link), seen=seen
    )


async def sign_reproduction(registry: Registry, image: ImageRef, *, key: Signs, reproduction: Reproduction) -> Signed:
    """Attach what came of building ``image`` a second time. Raises NotFound, Unavailable, Conflict."""
    payloads = {attest.REPRODUCTION: attest.reproduction_statement(image, reproduction)}
    return await _attach(registry, image, payloads, key, check=lambda found: found)


async def sign_summary(registry: Registry, image: ImageRef, *, key: Signs, payload: bytes) -> str:
    """Attach a verification summary; the digest of its referrer manifest. Raises NotFound, Unavailable, Conflict.

    That it is listed is seen before this returns; nothing rests on it, so the rest is not read back.
    """
    made = await _attachment(await _subject(registry, image), attest.SUMMARY, payload, key)
    await _store(registry, image, [made])
    await registry.add_referrers(image.repository, image.digest, [made.listed()])
    return made.manifest.digest


def _check_original(found: Evidence, link: Link) -> None:
    evidence.require(found, DEFAULT)
    origins = {one.manifest: one.source_url for one in found.origins()}
    if origins.get(link.provenance) != link.source_url:
        raise Refused("the link names a provenance that does not hold for this image", reason="broken_link")


async def _attach(
    registry: Registry,
    image: ImageRef,
    payloads: Mapping[str, bytes],
    key: Signs,
    keys: Sequence[Trusted] = (),
    *,
    check: Callable[[Evidence], object],
    seen: Seen | None = None,
) -> Signed:
    """Store, list and read it all back; what got lost on the way, once more."""
    subject, keys = await _subject(registry, image), keys or (checked_with(key),)
    known = {} if key.repeatable else await _known(registry, image, payloads, key)
    making = {kind: payload for kind, payload in payloads.items() if kind not in known}
    wanted = await together(_attachment(subject, kind, payload, key) for kind, payload in making.items())
    listed = [one.listed() for one in wanted]
    storing = partial(_store, registry, image, wanted)
    before = await registry.list_referrers(image.repository, image.digest, listed, store=storing)
    try:
        await _read_back(registry, image, wanted, keys, check, seen)
    except Conflict:
        await _store(registry, image, wanted)
        await registry.add_referrers(image.repository, image.digest, listed)
        await _read_back(registry, image, wanted, keys, check, seen)
    manifests = known | {one.predicate_type: one.manifest.digest for one in wanted}
    return Signed(
        image, subject, manifests, tuple(one.manifest.digest for one in wanted if one.manifest.digest not in before)
    )


async def _known(registry: Registry, image: ImageRef, payloads: Mapping[str, bytes], key: Signs) -> dict[str, str]:
    """Which of the statements the key has signed already, by their referrers: signing again would add another each."""
    there = await gather_evidence(registry, image, keys=[checked_with(key)])
    signed = {one.payload: one.manifest for one in there.statements}
    return {kind: signed[payload] for kind, payload in payloads.items() if payload in signed}


async def _subject(registry: Registry, image: ImageRef) -> Manifest:
    """The image as the registry has it: its size and kind are never taken on somebody's word."""
    manifest = await registry.manifest(image.repository, image.digest)
    if manifest is None:
        raise NotFound(f"the registry has no image {image}", reason="image_unknown")
    return manifest


async def _attachment(subject: Manifest, predicate_type: str, payload: bytes, key: Signs) -> _Attachment:
    bundle = await _bundle(key, payload)
    return _Attachment(predicate_type, bundle, attest.referrer(subject.descriptor(), bundle, predicate_type))


async def _bundle(key: Signs, payload: bytes) -> bytes:
    if isinstance(key, Identity):
        return await key.bundle(payload)
    return attest.bundle(payload, await key.signature(attest.pae(payload)), key.public.hint)


async def _store(registry: Registry, image: ImageRef, attachments: Sequence[_Attachment]) -> None:
    """Blobs, then manifests: a registry refuses what names something that it does not have yet.

    Where it refuses, what it is remembered to have may have been collected since: all is stored once more.
    """
    try:
        await _stored(registry, image, attachments)
    except Invalid:
        if not registry.doubt(image.repository):
            raise
        await _stored(registry, image, attachments)


async def _stored(registry: Registry, image: ImageRef, attachments: Sequence[_Attachment]) -> None:
    # All attachments share the empty blob; writing it again would disturb whoever stores a manifest at that moment.
    shared = registry.ensure_blob(image.repository, attest.EMPTY)
    await together([shared, *(registry.put_blob(image.repository, one.bundle) for one in attachments)])
    manifests = [one.manifest for one in attachments]
    await together(registry.put_manifest(image.repository, one.digest, one.media_type, one.body) for one in manifests)


async def _sign_simply(registry: Registry, image: ImageRef, key: Signs) -> None:
    """The signature in its older form too, read back. Others' signatures under the same tag stay."""
    signed, tag = simplesigning.payload(image), simplesigning.tag(image.digest)
    for _ in range(TRIES):
        there = await registry.manifest(image.repository, tag)
        layers = simplesigning.layers_of(there.body) if there else []
        if simplesigning.signed_by(layers, signed, checked_with(key)):
            await registry.blob(image.repository, sha256(signed), limit=len(signed))
            return
        layers = [*layers, simplesigning.layer(signed, await _simply(key, signed))]
        await together(registry.put_blob(image.repository, blob) for blob in (signed, simplesigning.config(layers)))
        manifest = simplesigning.manifest(layers)
        await registry.put_manifest(image.repository, tag, manifest.media_type, manifest.body)
    raise Conflict(f"other writers keep changing the signatures of {image.digest}", reason="signature_contended")


async def _simply(key: Signs, signed: bytes) -> Mapping[str, str]:
    if isinstance(key, Identity):
        return await key.annotations(signed)
    return simplesigning.noted(await key.signature(signed))


async def _read_back(
    registry: Registry,
    image: ImageRef,
    wanted: Sequence[_Attachment],
    keys: Sequence[Trusted],
    check: Callable[[Evidence], object],
    seen: Seen | None,
) -> None:
    """Verify as a stranger would: of what is ``wanted`` nothing is used that was known before.

    Raises Conflict, and what ``check`` raises.
    """
    if seen is not None:
        seen.forget(
            image.repository, [digest for one in wanted for digest in (one.manifest.digest, sha256(one.bundle))]
        )
    found = await gather_evidence(registry, image, keys=keys, seen=seen)
    there = {one.manifest for one in found.statements}
    for one in wanted:
        if one.manifest.digest not in there:
            raise Conflict(f"{one.predicate_type} was written and cannot be read back", reason="not_read_back")
    check(found)
