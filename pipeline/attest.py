"""Statements, DSSE envelopes, sigstore bundles and the OCI objects that carry them: pure functions from facts to bytes.

The same facts always give the same bytes, so that signing again after a crash writes what is already there; that is
why no object carries the time at which it was made.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Invalid
from pipeline.images import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Descriptor, ImageRef, Manifest, digest, sha256

SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SBOM = "https://spdx.dev/Document"
CYCLONEDX = "https://cyclonedx.org/bom"
SUMMARY = "https://slsa.dev/verification_summary/v1"
LINK = "https://enclii.dev/attestations/link/v1"
REPRODUCTION = "https://enclii.dev/attestations/reproduction/v1"

STATEMENT = "https://in-toto.io/Statement/v1"
BUILD_TYPE = "https://enclii.dev/buildtypes/image/v1"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
EMPTY = b"{}"

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Provenance:
    """How an image came to be.

    Times are RFC 3339; ``bases`` are (uri, digest) of the resolved base images; ``tool`` is the building program.
    """

    source_url: str
    ref: str
    sha: str
    path: str
    kind: str
    build_args: Mapping[str, str]
    builder_id: str
    invocation_id: str
    started_at: str
    finished_at: str
    bases: Sequence[tuple[str, str]] = ()
    log_digest: str = ""
    tool: str = ""


@dataclass(frozen=True)
class Link:
    """Another commit with the same build inputs: this digest is its image too.

    ``provenance`` is the digest of the referrer manifest that carries the original provenance.
    """

    source_url: str
    ref: str
    sha: str
    tree: str
    build_key: str
    provenance: str
    run: str


@dataclass(frozen=True)
class Reproduction:
    """A second build of an image without any cache: the digest that it gave, or the reason why it gave none.

    ``provenance`` is the digest of the referrer manifest that describes the first; times are RFC 3339.
    """

    rebuilt: str
    failure: str
    builder_id: str
    tool: str
    provenance: str
    started_at: str
    finished_at: str


def compact(document: Any) -> bytes:
    """The one way in which this module writes JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def strict_json(data: bytes) -> Any:
    """Parse JSON as strictly as the strictest reader of the same bytes, so that all readers see one document.

    Refuses with ValueError: other encodings and byte order marks, a key twice in one object, NaN and Infinity, half
    surrogate pairs, and nesting beyond what the parser can hold.
    """
    text = data.decode("utf-8")
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _HALF_PAIR.search(text):
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what the signature is made over."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def statement(image: ImageRef, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """An in-toto statement with ``image`` as its only subject."""
    subject = {
        "name": f"{image.registry}/{image.repository}",
        "digest": {"sha256": image.digest.removeprefix("sha256:")},
    }
    return compact(
        {"_type": STATEMENT, "subject": [subject], "predicateType": predicate_type, "predicate": dict(predicate)}
    )


def signature_statement(image: ImageRef) -> bytes:
    """What cosign takes as the signature of an image; it names the digest alone, so a copy elsewhere stays signed."""
    subject = {"digest": {"sha256": image.digest.removeprefix("sha256:")}}
    return compact({"_type": STATEMENT, "subject": [subject], "predicateType": SIGNATURE, "predicate": {}})


def provenance_statement(image: ImageRef, facts: Provenance) -> bytes:
    """SLSA v1 provenance of ``image``."""
    return statement(image, PROVENANCE, provenance_predicate(facts))


def provenance_predicate(facts: Provenance) -> dict[str, Any]:
    """SLSA's build definition and run details; the first resolved dependency is the source commit."""
    metadata = {"invocationId": facts.invocation_id, "startedOn": facts.started_at, "finishedOn": facts.finished_at}
    run: dict[str, Any] = {
        "builder": {"id": facts.builder_id},
        "metadata": {key: value for key, value in metadata.items() if value},
    }
    if facts.log_digest:
        run["byproducts"] = [{"name": "build.log", "digest": _digest_set(facts.log_digest)}]
    return {"buildDefinition": _build_definition(facts), "runDetails": run}


def _build_definition(facts: Provenance) -> dict[str, Any]:
    source = f"git+{facts.source_url}"
    dependencies = [{"uri": f"{source}@{facts.ref}", "digest": {"gitCommit": facts.sha}}]
    dependencies += [{"uri": uri, "digest": _digest_set(base)} for uri, base in sorted(facts.bases)]
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "source": source,
            "ref": facts.ref,
            "path": facts.path,
            "kind": facts.kind,
            "buildArgs": dict(sorted(facts.build_args.items())),
        },
        "internalParameters": {"builder": facts.tool} if facts.tool else {},
        "resolvedDependencies": dependencies,
    }


def _digest_set(text: str) -> dict[str, str]:
    return {"sha256": digest(text).removeprefix("sha256:")}


def sbom_statement(image: ImageRef, spdx: bytes) -> bytes:
    """The SPDX document in ``spdx`` as an attestation. Raises Invalid if it is none."""
    try:
        document = strict_json(spdx)
    except ValueError as error:
        raise Invalid(f"the SBOM is not JSON: {error}", reason="bad_sbom") from None
    if not is_spdx(document):
        raise Invalid("the SBOM is not an SPDX document", reason="bad_sbom")
    return statement(image, SBOM, document)


def is_spdx(document: Any) -> bool:
    """True for an object that calls itself SPDX 2."""
    return isinstance(document, dict) and str(document.get("spdxVersion", "")).startswith("SPDX-2.")


def cyclonedx_statement(image: ImageRef, cyclonedx: bytes) -> bytes:
    """The CycloneDX document as an attestation. Raises Invalid if it is none."""
    try:
        document = strict_json(cyclonedx)
    except ValueError as error:
        raise Invalid(f"the SBOM is not JSON: {error}", reason="bad_sbom") from None
    if not is_cyclonedx(document):
        raise Invalid("the SBOM is not a CycloneDX document", reason="bad_sbom")
    return statement(image, CYCLONEDX, document)


def is_cyclonedx(document: Any) -> bool:
    """True for an object that calls itself CycloneDX."""
    return isinstance(document, dict) and document.get("bomFormat") == "CycloneDX"


def link_statement(image: ImageRef, link: Link) -> bytes:
    """The link attestation: ``link.sha`` has ``image`` without a build."""
    predicate = {
        "source": f"git+{link.source_url}",
        "ref": link.ref,
        "sha": link.sha,
        "tree": link.tree,
        "buildKey": link.build_key,
        "provenance": digest(link.provenance),
        "run": link.run,
    }
    return statement(image, LINK, predicate)


def reproduction_statement(image: ImageRef, told: Reproduction) -> bytes:
    """The comparison as an attestation about the first image."""
    predicate: dict[str, Any] = {
        "identical": told.rebuilt == image.digest,
        "rebuilt": {"digest": _digest_set(told.rebuilt)} if told.rebuilt else {},
        "builder": {"id": told.builder_id, "tool": told.tool},
        "provenance": digest(told.provenance),
        "startedOn": told.started_at,
        "finishedOn": told.finished_at,
    }
    return statement(image, REPRODUCTION, predicate | ({"failure": told.failure} if told.failure else {}))


def bundle(payload: bytes, signature: bytes, hint: str) -> bytes:
    """A sigstore bundle around one signed statement. ``keyid`` must stay out: verifiers match it against the key."""
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    material = {"publicKey": {"hint": hint}}
    return compact({"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def referrer(subject: Descriptor, bundle_bytes: bytes, predicate_type: str) -> Manifest:
    """The manifest that attaches one bundle to ``subject``; the annotation is for people, it proves nothing."""
    empty = {"mediaType": OCI_EMPTY, "size": len(EMPTY), "digest": sha256(EMPTY), "artifactType": BUNDLE}
    body = compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": empty,
            "layers": [{"mediaType": BUNDLE, "size": len(bundle_bytes), "digest": sha256(bundle_bytes)}],
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": predicate_type,
            },
            "subject": {"mediaType": subject.media_type, "size": subject.size, "digest": subject.digest},
            "artifactType": BUNDLE,
        }
    )
    return Manifest(sha256(body), OCI_MANIFEST, body)


def index_entries(body: bytes) -> list[dict[str, Any]]:
    """The entries of a referrers list, each with a sound digest, size and media type. Raises Invalid."""
    return _entries(_index(body))


def _index(body: bytes) -> dict[str, Any]:
    try:
        document = strict_json(body)
    except ValueError as error:
        raise Invalid(f"the list of referrers is not JSON: {error}", reason="malformed_index") from None
    if not isinstance(document, dict) or document.get("mediaType") != OCI_INDEX:
        raise Invalid("the list of referrers is not an OCI index", reason="malformed_index")
    return document


def _entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = document.get("manifests")
    entries = [] if entries is None else entries
    if not isinstance(entries, list) or not all(_is_descriptor(entry) for entry in entries):
        raise Invalid("the list of referrers has an entry that is no descriptor", reason="malformed_index")
    return entries


def _is_descriptor(entry: Any) -> bool:
    try:
        descriptor(entry)
    except Invalid:
        return False
    return True


def descriptor(document: Any) -> Descriptor:
    """Read a descriptor. Raises Invalid."""
    if not isinstance(document, dict):
        raise Invalid("a descriptor is not an object", reason="malformed_descriptor")
    media_type, size = document.get("mediaType"), document.get("size")
    artifact_type, annotations = document.get("artifactType") or "", document.get("annotations") or {}
    if not isinstance(media_type, str) or not isinstance(artifact_type, str) or not isinstance(annotations, dict):
        raise Invalid("a descriptor has a member of the wrong type", reason="malformed_descriptor")
    if type(size) is not int or size < 0:
        raise Invalid("a descriptor has no size", reason="malformed_descriptor")
    return Descriptor(media_type, digest(str(document.get("digest"))), size, artifact_type, annotations)


def merged_index(existing: bytes | None, added: Sequence[Descriptor]) -> bytes | None:
    """The referrers list with ``added`` in it, None when nothing is missing; what others wrote stays as it is."""
    document = _index(existing) if existing is not None else {"schemaVersion": 2, "mediaType": OCI_INDEX}
    entries = {entry["digest"]: entry for entry in _entries(document)}
    missing = [one for one in added if one.digest not in entries]
    if existing is not None and not missing:
        return None
    entries |= {one.digest: one.document() for one in missing}
    return compact({**document, "manifests": [entries[key] for key in sorted(entries)]})
