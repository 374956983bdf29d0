"""What the objects beside an image prove: signed statements read strictly, then judged. Pure functions.

Whatever cosign refuses is refused here too. Of a payload nothing is parsed before its signature was verified.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import attest, images
from pipeline.errors import Invalid, Refused
from pipeline.images import Descriptor
from pipeline.keys import PublicKey
from pipeline.trust import Certified, RetiredKey, Trusted

SUBJECTS = 1024
DEFAULT = frozenset({attest.SIGNATURE, attest.PROVENANCE, attest.SBOM})

_MISSING = {attest.SIGNATURE: "unsigned", attest.PROVENANCE: "missing_provenance", attest.SBOM: "missing_sbom"}
_STATEMENTS = frozenset({attest.STATEMENT, "https://in-toto.io/Statement/v0.1"})
_STATEMENT_KEYS = frozenset({"_type", "subject", "predicateType", "predicate"})
_TEXTS = frozenset({"name", "uri", "downloadLocation", "mediaType"})
_RESOURCE_KEYS = _TEXTS | {"digest", "content", "annotations"}
_PARAMETERS = frozenset({"source", "ref", "path", "kind", "buildArgs"})
_LINK_KEYS = frozenset({"source", "ref", "sha", "tree", "buildKey", "provenance", "run"})
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True)
class Demand:
    """What the gate wants proven: this source repository and commit, built by one of these builders."""

    source_url: str
    sha: str
    builder_ids: frozenset[str]
    predicates: frozenset[str] = DEFAULT


@dataclass(frozen=True)
class Statement:
    """A statement that a trusted key signed about this image, and the referrer manifest that brought it.

    ``signer`` is the key's hint, or the identity's name.
    """

    manifest: str
    predicate_type: str
    predicate: Mapping[str, Any]
    payload: bytes
    signer: str = ""


@dataclass(frozen=True)
class Rejected:
    """An object that proves nothing, and why; ``claims`` is the predicate type that its unsigned label names."""

    manifest: str
    claims: str
    reason: str
    message: str


@dataclass(frozen=True)
class Origin:
    """Where an image came from, as a provenance or a link says."""

    manifest: str
    source_url: str
    sha: str
    builder_id: str
    finished_at: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that was found beside one image."""

    statements: Sequence[Statement]
    rejected: Sequence[Rejected]

    def of(self, predicate_type: str) -> list[Statement]:
        return [one for one in self.statements if one.predicate_type == predicate_type]

    def origins(self) -> list[Origin]:
        """Every provenance, the newest last."""
        return sorted(map(origin, self.of(attest.PROVENANCE)), key=lambda one: (one.finished_at, one.manifest))


def bundle_layer(body: bytes) -> tuple[Descriptor, str] | None:
    """The bundle in a referrer manifest and the predicate type on its label; None when it is something else.

    Raises Refused when it is neither one bundle nor something else.
    """
    try:
        document = attest.strict_json(body)
    except ValueError as error:
        raise _malformed(f"a referrer is not JSON: {error}") from None
    layers = document.get("layers") if isinstance(document, dict) else None
    kinds = [str(one.get("mediaType")) for one in layers or [] if isinstance(one, dict)]
    if not isinstance(layers, list) or attest.BUNDLE not in kinds:
        return None
    if len(layers) != 1:
        raise _malformed("a referrer has more than the bundle in it")
    annotations = document.get("annotations")
    label = annotations.get("dev.sigstore.bundle.predicateType", "") if isinstance(annotations, dict) else ""
    try:
        return attest.descriptor(layers[0]), str(label)
    except Invalid as error:
        raise _malformed(error.message) from None


def open_bundle(data: bytes, *, image_digest: str, keys: Sequence[Trusted], manifest: str) -> Statement:
    """The statement in a sigstore bundle, if one of ``keys`` signed it about this image. Raises Refused."""
    payload, signer = _opened(data, keys)
    document = _statement(payload)
    if image_digest.removeprefix("sha256:") not in _subject_digests(document["subject"]):
        raise Refused("the signed statement is about another image", reason="wrong_subject")
    statement = Statement(manifest, document["predicateType"], document["predicate"], payload, signer)
    _checked_predicate(statement)
    return statement


def _opened(data: bytes, keys: Sequence[Trusted]) -> tuple[bytes, str]:
    """(payload, who signed it). A bundle holds a key or a certificate, and each is judged by its own kind alone."""
    bundle = _bundle(data)
    payload, signature = _envelope(bundle["dsseEnvelope"])
    if _certificate(bundle["verificationMaterial"]):
        return payload, _identity(data, payload, [one for one in keys if not isinstance(one, PublicKey | RetiredKey)])
    _check_material(bundle["verificationMaterial"])
    return payload, _signer(attest.pae(payload), signature, keys)


def _identity(data: bytes, payload: bytes, trusted: Sequence[Certified]) -> str:
    if not trusted:
        raise Refused("an identity's certificate signed this, and none is accepted here", reason="wrong_key")
    refusals = []
    for one in trusted:
        try:
            if one.opened(data) == payload:
                return one.name
        except Refused as error:
            refusals.append(error)
    raise refusals[0] if refusals else _malformed("the envelope is read in two ways")


def _signer(signed: bytes, signature: bytes, keys: Sequence[Trusted]) -> str:
    for key in keys:
        if isinstance(key, PublicKey) and key.verifies(signature, signed):
            return key.hint
    for key in keys:
        if isinstance(key, RetiredKey) and key.key.verifies(signature, signed):
            text = f"the key {key.key.hint}, which is retired, made this signature; build again: enclii rebuild"
            raise Refused(text, reason="retired_key")
    raise Refused("no trusted key made this signature", reason="wrong_key")


def _malformed(message: str) -> Refused:
    return Refused(message, reason="malformed_attestation")


def _object(value: Any, what: str, *, required: frozenset[str], optional: frozenset[str] = frozenset()) -> Any:
    if not isinstance(value, dict) or not required <= value.keys() <= required | optional:
        raise _malformed(f"{what} does not have exactly the known members")
    return value


def _bundle(data: bytes) -> dict[str, Any]:
    try:
        document = attest.strict_json(data)
    except ValueError as error:
        raise _malformed(f"the bundle is not JSON: {error}") from None
    required = frozenset({"mediaType", "verificationMaterial", "dsseEnvelope"})
    bundle: dict[str, Any] = _object(document, "the bundle", required=required)
    if bundle["mediaType"] != attest.BUNDLE:
        raise _malformed("the bundle is of another version")
    return bundle


def _envelope(value: Any) -> tuple[bytes, bytes]:
    """(payload, signature) of a bundle's only envelope; the payload is not looked at."""
    envelope = _object(value, "the envelope", required=frozenset({"payload", "payloadType", "signatures"}))
    if envelope["payloadType"] != attest.PAYLOAD_TYPE:
        raise _malformed("the envelope holds no in-toto statement")
    return _base64(envelope["payload"], "payload"), _only_signature(envelope["signatures"])


def _certificate(value: Any) -> bool:
    """Whether the material is a certificate, which then must come with its entry in a log."""
    if not isinstance(value, dict) or "certificate" not in value:
        return False
    known = frozenset({"timestampVerificationData"})
    material = _object(value, "the material", required=frozenset({"certificate"}), optional=known | {"tlogEntries"})
    if not isinstance(material.get("tlogEntries"), list) or not material["tlogEntries"]:
        raise Refused("the certificate's signature is in no transparency log", reason="missing_log_entry")
    return True


def _check_material(value: Any) -> None:
    """Only a bare key: a timestamp or log entry in here would look checked and not be."""
    known = frozenset({"tlogEntries", "timestampVerificationData"})
    material = _object(value, "the verification material", required=frozenset({"publicKey"}), optional=known)
    if any(material.get(name) for name in known):
        raise _malformed("the verification material holds more than a key")
    for name, kind in (("tlogEntries", list), ("timestampVerificationData", dict)):
        if not isinstance(material.get(name), kind | None):
            raise _malformed(f"{name} has the wrong type")
    key = _object(material["publicKey"], "the key", required=frozenset(), optional=frozenset({"hint"}))
    if not isinstance(key.get("hint", ""), str):
        raise _malformed("the key's hint is no text")


def _only_signature(value: Any) -> bytes:
    if not isinstance(value, list) or len(value) != 1:
        raise _malformed("the envelope does not have exactly one signature")
    signature = _object(value[0], "the signature", required=frozenset({"sig"}), optional=frozenset({"keyid"}))
    if signature.get("keyid", "") != "":
        raise _malformed("the signature names a key id")
    return _base64(signature["sig"], "signature")


def _base64(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or not value:
        raise _malformed(f"the {what} is missing")
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"the {what} is not base64") from None
    if base64.b64encode(decoded).decode() != value:  # the library reads what has too much padding, cosign does not
        raise _malformed(f"the {what} is not base64 as it is written")
    return decoded


def _statement(payload: bytes) -> dict[str, Any]:
    try:
        document = attest.strict_json(payload)
    except ValueError as error:
        raise _malformed(f"the statement is not JSON: {error}") from None
    statement: dict[str, Any] = _object(document, "the statement", required=_STATEMENT_KEYS)
    if statement["_type"] not in _STATEMENTS:
        raise _malformed("the statement is of another type")
    if not isinstance(statement["predicateType"], str) or not isinstance(statement["predicate"], dict):
        raise _malformed("the statement has no predicate")
    if not isinstance(statement["subject"], list) or len(statement["subject"]) > SUBJECTS:
        raise _malformed(f"the statement's subject is no list of at most {SUBJECTS}")
    return statement


def _subject_digests(subjects: Iterable[Any]) -> set[str]:
    return {_resource(subject).get("sha256", "") for subject in subjects}


def _resource(value: Any) -> dict[str, str]:
    """The digests of a resource descriptor; every member of it must be what the specification says."""
    subject = _object(value, "a subject", required=frozenset(), optional=_RESOURCE_KEYS)
    digests, annotations = subject.get("digest", {}), subject.get("annotations", {})
    if not all(isinstance(subject.get(name, ""), str) for name in _TEXTS) or not isinstance(annotations, dict):
        raise _malformed("a subject has a member of the wrong type")
    if subject.get("content", "") != "":
        _base64(subject["content"], "content of a subject")
    if not isinstance(digests, dict) or not all(
        isinstance(one, str) and _HEX.fullmatch(one) for one in digests.values()
    ):
        raise _malformed("a subject's digest is not lower-case hex")
    return digests


def _checked_predicate(statement: Statement) -> None:
    if statement.predicate_type == attest.PROVENANCE:
        origin(statement)
    elif statement.predicate_type == attest.LINK:
        linked(statement)
    elif statement.predicate_type == attest.REPRODUCTION:
        reproduced(statement)
    elif statement.predicate_type == attest.SBOM and not attest.is_spdx(statement.predicate):
        raise _malformed("the SBOM is not an SPDX document")
    elif statement.predicate_type == attest.CYCLONEDX and not attest.is_cyclonedx(statement.predicate):
        raise _malformed("the SBOM is not a CycloneDX document")


def origin(statement: Statement) -> Origin:
    """Where the image came from by one of our provenances. Raises Refused when it is not one of ours."""
    try:
        definition, details = statement.predicate["buildDefinition"], statement.predicate["runDetails"]
        parameters, source = definition["externalParameters"], definition["externalParameters"]["source"]
        commits = [
            one["digest"]["gitCommit"]
            for one in definition["resolvedDependencies"]
            if one["uri"] == f"{source}@{parameters['ref']}"
        ]
        known = definition["buildType"] == attest.BUILD_TYPE and parameters.keys() == _PARAMETERS
        builder, finished = details["builder"]["id"], details.get("metadata", {}).get("finishedOn", "")
    except (LookupError, TypeError, AttributeError):
        raise _malformed("the provenance does not have the known shape") from None
    texts = (source, builder, finished, *commits)
    if (
        not known
        or len(commits) != 1
        or not all(isinstance(one, str) for one in texts)
        or not source.startswith("git+")
    ):
        raise _malformed("the provenance is of another build type, or names no one source commit")
    return Origin(statement.manifest, source.removeprefix("git+"), commits[0], builder, finished)


def linked(statement: Statement) -> attest.Link:
    """What a link attestation says. Raises Refused when it is none."""
    link = _object(statement.predicate, "the link", required=_LINK_KEYS)
    if not all(isinstance(value, str) for value in link.values()) or not link["source"].startswith("git+"):
        raise _malformed("the link has a member of the wrong type")
    try:
        provenance = images.digest(link["provenance"])
    except Invalid as error:
        raise _malformed(f"the link names no provenance: {error.message}") from None
    return attest.Link(
        source_url=link["source"].removeprefix("git+"),
        ref=link["ref"],
        sha=link["sha"],
        tree=link["tree"],
        build_key=link["buildKey"],
        provenance=provenance,
        run=link["run"],
    )


def reproduced(statement: Statement) -> tuple[bool, str]:
    """(whether a second build gave the same image, what it gave instead). Raises Refused when it is no comparison."""
    told = statement.predicate
    same, rebuilt, failure = told.get("identical"), told.get("rebuilt"), told.get("failure", "")
    if type(same) is not bool or not isinstance(rebuilt, dict) or not isinstance(failure, str):
        raise _malformed("the comparison does not have the known shape")
    digests = rebuilt.get("digest", {})
    digest = digests.get("sha256", "") if isinstance(digests, dict) else ""
    return same, failure or f"sha256:{digest}"


def require(evidence: Evidence, predicates: Iterable[str]) -> None:
    """Raises Refused unless each predicate is there by name in a good statement."""
    for predicate in sorted(predicates, key=lambda one: (one != attest.SIGNATURE, one)):
        if not evidence.of(predicate):
            raise _why_missing(evidence, predicate)


def _why_missing(evidence: Evidence, predicate: str) -> Refused:
    """The label explains, and no more: what it names is missing all the same."""
    labelled = [one for one in evidence.rejected if one.claims in (predicate, "")]
    if labelled:
        return Refused(f"{predicate}: {labelled[0].message} ({labelled[0].manifest})", reason=labelled[0].reason)
    return Refused(f"no valid {predicate} for this image", reason=_MISSING.get(predicate, "missing_predicate"))


def match(evidence: Evidence, demand: Demand) -> tuple[Origin, str]:
    """The provenance or link by which the image belongs to ``demand``'s commit. Raises Refused."""
    origins = [one for one in evidence.origins() if one.source_url == demand.source_url]
    if not origins:
        raise Refused(f"the image was not built from {demand.source_url}", reason="wrong_source")
    trusted = [one for one in origins if one.builder_id in demand.builder_ids]
    if not trusted:
        raise Refused("no trusted builder built the image from that source", reason="wrong_builder")
    for one in trusted:
        if one.sha == demand.sha:
            return one, "provenance"
    return _match_link(evidence, demand, {one.manifest: one for one in trusted}), "link"


def _match_link(evidence: Evidence, demand: Demand, originals: Mapping[str, Origin]) -> Origin:
    links = [(one.manifest, linked(one)) for one in evidence.of(attest.LINK)]
    wanted = [(at, one) for at, one in links if (one.source_url, one.sha) == (demand.source_url, demand.sha)]
    if not wanted:
        raise Refused(f"nothing says that the image belongs to commit {demand.sha}", reason="wrong_commit")
    for manifest, link in wanted:
        if original := originals.get(link.provenance):
            return Origin(manifest, link.source_url, link.sha, original.builder_id, original.finished_at)
    raise Refused("the link names a provenance that does not hold for this image", reason="broken_link")
