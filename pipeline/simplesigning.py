"""The older form of an image's signature: a "simple signing" payload in a manifest under the tag ``sha256-….sig``.

Verifiers inside clusters still read this form and not the bundles, so every release is signed in both. The same facts
give the same bytes. The form is that of cosign's ``SIGNATURE_SPEC``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import attest
from pipeline.errors import Invalid
from pipeline.images import OCI_MANIFEST, ImageRef, Manifest, fallback_tag, sha256
from pipeline.keys import PublicKey
from pipeline.trust import Certified

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
_EPOCH = "0001-01-01T00:00:00Z"


def tag(image_digest: str) -> str:
    """Where a verifier looks for the signatures of an image."""
    return f"{fallback_tag(image_digest)}.sig"


def payload(image: ImageRef) -> bytes:
    """What is signed: which digest, and under which name it was published."""
    critical = {
        "identity": {"docker-reference": f"{image.registry}/{image.repository}"},
        "image": {"docker-manifest-digest": image.digest},
        "type": "cosign container image signature",
    }
    return attest.compact({"critical": critical, "optional": None})


def noted(signature: bytes) -> dict[str, str]:
    """How a bare key's signature stands in its layer."""
    return {ANNOTATION: base64.b64encode(signature).decode()}


def layer(signed: bytes, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The entry of one signature in the manifest; as ``noted`` writes it, or with a certificate."""
    return {"mediaType": PAYLOAD, "size": len(signed), "digest": sha256(signed), "annotations": dict(annotations)}


def config(layers: Sequence[dict[str, Any]]) -> bytes:
    """The image configuration that registries and older clients expect beside the layers."""
    return attest.compact(
        {
            "architecture": "",
            "created": _EPOCH,
            "history": [{"created": _EPOCH} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
            "config": {},
        }
    )


def manifest(layers: Sequence[dict[str, Any]]) -> Manifest:
    """The manifest under the tag; the blobs that it names must be stored before it."""
    settings = config(layers)
    body = attest.compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(settings), "digest": sha256(settings)},
            "layers": list(layers),
        }
    )
    return Manifest(sha256(body), OCI_MANIFEST, body)


def layers_of(body: bytes) -> list[dict[str, Any]]:
    """The signatures that a manifest lists, ours and others'. Raises Invalid for what is no such manifest."""
    try:
        document = attest.strict_json(body)
        found = document["layers"]
    except (ValueError, LookupError, TypeError):
        raise Invalid("the signature's manifest is not one", reason="malformed_signature") from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Invalid("the signature's manifest lists no layers", reason="malformed_signature")
    for one in found:
        attest.descriptor(one)
    return found


def signed_by(layers: Sequence[dict[str, Any]], signed: bytes, by: PublicKey | Certified) -> bool:
    """True when ``by`` signed exactly ``signed`` in one of the layers."""
    ours = [one for one in layers if one.get("digest") == sha256(signed)]
    if isinstance(by, PublicKey):
        return any(_verifies(one, signed, by) for one in ours)
    return any(by.signed_simply(one, signed) for one in ours)


def _verifies(one: dict[str, Any], signed: bytes, key: PublicKey) -> bool:
    annotations = one.get("annotations")
    text = annotations.get(ANNOTATION) if isinstance(annotations, dict) else None
    try:
        return isinstance(text, str) and key.verifies(base64.b64decode(text, validate=True), signed)
    except binascii.Error:
        return False
