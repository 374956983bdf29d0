"""The verifier of the gate and of the syncer: asks the registry what lies beside an image and judges it.

A check that failed raises Refused with its reason; a check that could not be made raises Unavailable, so that it is
made again and never taken for a yes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pipeline import attest, evidence, images
from pipeline.errors import Invalid, NotFound, Permanent, Refused
from pipeline.evidence import DEFAULT, Demand, Evidence, Rejected, Statement
from pipeline.images import Descriptor, ImageRef
from pipeline.registry import Registry
from pipeline.registry_http import together
from pipeline.seen import Seen
from pipeline.trust import Trusted

__all__ = ["Demand", "Verdict", "gather_evidence", "verify_image"]

REFERRERS = 512
BUNDLE_LIMIT = 32 << 20
TOTAL_LIMIT = 96 << 20


@dataclass(frozen=True)
class Verdict:
    """What was proven about one digest; ``predicates`` maps each type to the manifests that prove it."""

    digest: str
    signed: bool
    predicates: Mapping[str, tuple[str, ...]]
    source_url: str
    sha: str
    via: Literal["provenance", "link"]
    checked_at: str


async def verify_image(
    registry: Registry, image: ImageRef, *, keys: Sequence[Trusted], demand: Demand | None
) -> Verdict:
    """Verify signature, provenance and SBOM of ``image``, and with ``demand`` source, commit and builder too."""
    found = await gather_evidence(registry, image, keys=keys)
    return judge(found, image, demand)


def judge(found: Evidence, image: ImageRef, demand: Demand | None) -> Verdict:
    """The verdict that the evidence allows. Raises Refused."""
    evidence.require(found, DEFAULT if demand is None else demand.predicates | {attest.PROVENANCE})
    origin, via = evidence.match(found, demand) if demand else (found.origins()[-1], "provenance")
    kinds = {one.predicate_type for one in found.statements}
    return Verdict(
        digest=image.digest,
        signed=attest.SIGNATURE in kinds,
        predicates={kind: tuple(sorted(one.manifest for one in found.of(kind))) for kind in sorted(kinds)},
        source_url=origin.source_url,
        sha=origin.sha,
        via="link" if via == "link" else "provenance",
        checked_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


async def gather_evidence(
    registry: Registry, image: ImageRef, *, keys: Sequence[Trusted], seen: Seen | None = None
) -> Evidence:
    """All that is attached to ``image``, listed and judged anew, in three rounds. Raises Refused, Unavailable.

    With ``seen`` the content that this process has read before is not read again.
    """
    seen = Seen() if seen is None else seen
    keys = tuple(keys)  # their files may change meanwhile, and one image is judged by one set
    if image.registry != registry.host:
        raise Invalid(f"{image} is not in registry {registry.host}", reason="wrong_registry")
    try:
        listed = await registry.referrers(image.repository, image.digest)
    except Invalid as error:
        raise Refused(error.message, reason="malformed_attestation") from error
    listed = [one for one in listed if one.media_type == images.OCI_MANIFEST]
    if len(listed) > REFERRERS:
        raise Refused(f"more than {REFERRERS} objects are attached to the image", reason="too_many_referrers")
    candidates = await together(_candidate(registry, image, one, seen) for one in listed)
    _check_total(candidates)
    judged = await together(_judged(registry, image, one, keys, seen) for one in candidates if one is not None)
    return Evidence(
        statements=[one for one in judged if isinstance(one, Statement)],
        rejected=[one for one in judged if isinstance(one, Rejected)],
    )


@dataclass(frozen=True)
class _Candidate:
    """A referrer that carries one bundle."""

    manifest: str
    bundle: Descriptor
    claims: str


async def _candidate(
    registry: Registry, image: ImageRef, listed: Descriptor, seen: Seen
) -> _Candidate | Rejected | None:
    """None for what is no bundle, and for what the list names and the registry has no more."""
    try:
        body = seen.get(image.repository, listed.digest)
        if body is None and (manifest := await registry.manifest(image.repository, listed.digest)) is not None:
            body = seen.keep(image.repository, listed.digest, manifest.body)
        found = evidence.bundle_layer(body) if body is not None else None
    except Permanent as error:
        return _rejected(listed.digest, "", error)
    return _Candidate(listed.digest, *found) if found else None


def _check_total(candidates: Sequence[_Candidate | Rejected | None]) -> None:
    if sum(one.bundle.size for one in candidates if isinstance(one, _Candidate)) > TOTAL_LIMIT:
        raise Refused(f"more than {TOTAL_LIMIT} bytes are attached to the image", reason="too_large")


async def _judged(
    registry: Registry, image: ImageRef, candidate: _Candidate | Rejected, keys: Sequence[Trusted], seen: Seen
) -> Statement | Rejected:
    if isinstance(candidate, Rejected):
        return candidate
    try:
        data = await _bundle(registry, image, candidate.bundle, seen)
        return evidence.open_bundle(data, image_digest=image.digest, keys=keys, manifest=candidate.manifest)
    except Permanent as error:
        return _rejected(candidate.manifest, candidate.claims, error)


async def _bundle(registry: Registry, image: ImageRef, layer: Descriptor, seen: Seen) -> bytes:
    if layer.size > BUNDLE_LIMIT:
        raise Refused(f"the bundle is larger than {BUNDLE_LIMIT} bytes", reason="too_large")
    data = seen.get(image.repository, layer.digest)
    if data is None:
        data = await registry.blob(image.repository, layer.digest, limit=layer.size)
    if len(data) != layer.size:
        raise Refused("the bundle is not as long as its manifest says", reason="malformed_attestation")
    return seen.keep(image.repository, layer.digest, data)


def _rejected(manifest: str, claims: str, error: Permanent) -> Rejected:
    """An object that is unreadable proves nothing, and takes nothing away from a good one beside it."""
    if isinstance(error, Refused):
        if error.reason.startswith("registry_"):
            raise error  # the registry said no to us: that is nothing about this object
        return Rejected(manifest, claims, error.reason, error.message)
    reason = "missing_bundle" if isinstance(error, NotFound) else "malformed_attestation"
    return Rejected(manifest, claims, reason, error.message)
