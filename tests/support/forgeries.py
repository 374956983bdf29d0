"""Bundles that a verifier must take and bundles that it must refuse, each built from one sound provenance.

One table for the unit tests, for the real registry and for cosign as the judge of both.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import utils

from pipeline import attest
from pipeline.images import ImageRef
from pipeline.keys import SigningKey

SOURCE = "https://forge.example/shop/web"
SHA = "a" * 40
BUILDER = "https://enclii.example/builder/test"
SPDX = json.dumps({"spdxVersion": "SPDX-2.3", "name": "web", "packages": []}).encode()
CYCLONEDX = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}).encode()

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256."""

Build = Callable[[SigningKey, ImageRef], bytes]


def facts(*, source_url: str = SOURCE, sha: str = SHA, builder_id: str = BUILDER) -> attest.Provenance:
    """A build of the test image."""
    return attest.Provenance(
        source_url=source_url,
        ref="refs/heads/main",
        sha=sha,
        path="web",
        kind="dockerfile",
        build_args={"COLOR": "blue"},
        builder_id=builder_id,
        invocation_id="r-1",
        started_at="2026-01-02T03:04:05Z",
        finished_at="2026-01-02T03:04:06Z",
        bases=[("pkg:docker/debian@12", "sha256:" + "b" * 64)],
        log_digest="sha256:" + "c" * 64,
    )


@dataclass(frozen=True)
class Case:
    """One bundle; ``reason`` is empty for one that must be taken."""

    name: str
    build: Build
    reason: str = ""


def sealed(key: SigningKey, payload: bytes) -> bytes:
    """A sound bundle around any payload."""
    return attest.bundle(payload, key.sign(attest.pae(payload)), key.public.hint)


def _statement(change: Callable[[dict[str, Any]], Any]) -> Build:
    """A sound bundle around a changed statement; ``change`` edits in place, or returns text to sign instead."""

    def build(key: SigningKey, image: ImageRef) -> bytes:
        document = json.loads(attest.provenance_statement(image, facts()))
        changed = change(document)
        return sealed(key, changed if isinstance(changed, bytes) else attest.compact(document))

    return build


def _bundle(change: Callable[[dict[str, Any]], Any]) -> Build:
    """A changed bundle around a sound statement."""

    def build(key: SigningKey, image: ImageRef) -> bytes:
        document = json.loads(sealed(key, attest.provenance_statement(image, facts())))
        changed = change(document)
        return changed if isinstance(changed, bytes) else attest.compact(document)

    return build


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


def _drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def _twice(name: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: (
        attest.compact(document)[:-1] + f',"{name}":'.encode() + attest.compact(document[name]) + b"}"
    )


def _signatures(change: Callable[[dict[str, Any]], list[Any]]) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        envelope = document["dsseEnvelope"]
        envelope["signatures"] = change(envelope["signatures"][0])

    return edit


def _signature_bytes(change: Callable[[bytes], bytes]) -> Callable[[dict[str, Any]], None]:
    def edit(one: dict[str, Any]) -> list[Any]:
        return [{"sig": base64.b64encode(change(base64.b64decode(one["sig"]))).decode()}]

    return _signatures(edit)


def _twin(signature: bytes) -> bytes:
    """The other signature that every ECDSA signature has: signature bytes are no identity."""
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, _ORDER - s)


def _raw(signature: bytes) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in utils.decode_dss_signature(signature))


def _flipped_payload(document: dict[str, Any]) -> None:
    payload = bytearray(base64.b64decode(document["dsseEnvelope"]["payload"]))
    payload[-3] ^= 1
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


def _other_key(_key: SigningKey, image: ImageRef) -> bytes:
    return sealed(SigningKey.generate(), attest.provenance_statement(image, facts()))


def _other_key_same_hint(key: SigningKey, image: ImageRef) -> bytes:
    payload = attest.provenance_statement(image, facts())
    return attest.bundle(payload, SigningKey.generate().sign(attest.pae(payload)), key.public.hint)


def _signature_of_another_statement(key: SigningKey, image: ImageRef) -> bytes:
    signature = key.sign(attest.pae(attest.signature_statement(image)))
    return attest.bundle(attest.provenance_statement(image, facts()), signature, key.public.hint)


def _signed_without_encoding(key: SigningKey, image: ImageRef) -> bytes:
    payload = attest.provenance_statement(image, facts())
    return attest.bundle(payload, key.sign(payload), key.public.hint)


def _another_image(key: SigningKey, image: ImageRef) -> bytes:
    other = ImageRef(image.registry, image.repository, "sha256:" + "0" * 64)
    return sealed(key, attest.provenance_statement(other, facts()))


def _upper_case(document: dict[str, Any]) -> None:
    digests = document["subject"][0]["digest"]
    digests["sha256"] = digests["sha256"].upper()


def _other_subjects(count: int) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["subject"].extend({"digest": {"sha256": "0" * 64}} for _ in range(count))


def _link_to(provenance: str) -> Build:
    def build(key: SigningKey, image: ImageRef) -> bytes:
        texts = dict.fromkeys(("ref", "sha", "tree", "buildKey", "run"), "x")
        predicate = {**texts, "source": f"git+{SOURCE}", "provenance": provenance}
        return sealed(key, attest.statement(image, attest.LINK, predicate))

    return build


def _pretty(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True).encode()


_MALFORMED = "malformed_attestation"
_PARAMETERS = ("predicate", "buildDefinition", "externalParameters")
_ONE_MORE = {"logIndex": "1"}

GOOD = [
    Case("as we write it", _statement(lambda document: None)),
    Case("pretty-printed statement", _statement(_pretty)),
    Case("pretty-printed bundle", _bundle(_pretty)),
    Case("statement v0.1", _statement(_set("_type", to="https://in-toto.io/Statement/v0.1"))),
    Case("more subjects", _statement(_other_subjects(3))),
    Case("1024 subjects", _statement(_other_subjects(1023))),
    Case("subject with annotations", _statement(_set("subject", 0, "annotations", to={"a": "b"}))),
    Case("empty key id", _bundle(_signatures(lambda one: [{**one, "keyid": ""}]))),
    Case("no hint", _bundle(_drop("verificationMaterial", "publicKey", "hint"))),
    Case("wrong hint", _bundle(_set("verificationMaterial", "publicKey", "hint", to="bm9ib2R5"))),
    Case("twin signature", _bundle(_signature_bytes(_twin))),
    Case("null log entries", _bundle(_set("verificationMaterial", "tlogEntries", to=None))),
    Case("no log entries", _bundle(_set("verificationMaterial", "tlogEntries", to=[]))),
]

FORGED = [
    Case("other key", _other_key, "wrong_key"),
    Case("other key with our hint", _other_key_same_hint, "wrong_key"),
    Case("flipped payload", _bundle(_flipped_payload), "wrong_key"),
    Case("flipped signature", _bundle(_signature_bytes(lambda one: one[:-1] + bytes([one[-1] ^ 1]))), "wrong_key"),
    Case("truncated signature", _bundle(_signature_bytes(lambda one: one[:-1])), "wrong_key"),
    Case("signature with a tail", _bundle(_signature_bytes(lambda one: one + b"\0")), "wrong_key"),
    Case("raw signature", _bundle(_signature_bytes(_raw)), "wrong_key"),
    Case("zero signature", _bundle(_signature_bytes(lambda _: bytes.fromhex("3006020100020100"))), "wrong_key"),
    Case("signature of another statement", _signature_of_another_statement, "wrong_key"),
    Case("payload signed without its type", _signed_without_encoding, "wrong_key"),
    Case("another image", _another_image, "wrong_subject"),
    Case("empty subject", _statement(_set("subject", to=[])), "wrong_subject"),
    Case("only a git commit", _statement(_set("subject", 0, "digest", to={"gitCommit": SHA})), "wrong_subject"),
    Case(
        "digest under another algorithm's name",
        _statement(_set("subject", 0, "digest", to={"sha512": SHA})),
        "wrong_subject",
    ),
    Case("no subject", _statement(_drop("subject")), _MALFORMED),
    Case("upper-case digest", _statement(_upper_case), _MALFORMED),
    Case("1025 subjects", _statement(_other_subjects(1024)), _MALFORMED),
    Case("subject is text", _statement(_set("subject", 0, to="sha256")), _MALFORMED),
    Case("digest is a list", _statement(_set("subject", 0, "digest", to=[])), _MALFORMED),
    Case("unknown member in the subject", _statement(_set("subject", 0, "extra", to=1)), _MALFORMED),
    Case("unknown member in the statement", _statement(_set("extra", to=1)), _MALFORMED),
    Case("snake-case predicate type", _statement(_set("predicate_type", to=attest.PROVENANCE)), _MALFORMED),
    Case("a member twice in the statement", _statement(_twice("predicateType")), _MALFORMED),
    Case("byte order mark", _statement(lambda document: b"\xef\xbb\xbf" + attest.compact(document)), _MALFORMED),
    Case("UTF-16", _statement(lambda document: json.dumps(document).encode("utf-16")), _MALFORMED),
    Case(
        "half a surrogate pair",
        _statement(lambda d: json.dumps({**d, "predicate": {"a": "\ud800"}}).encode()),
        _MALFORMED,
    ),
    Case("text after the statement", _statement(lambda document: attest.compact(document) + b"{}"), _MALFORMED),
    Case("NaN", _statement(lambda d: json.dumps({**d, "predicate": {"a": float("nan")}}).encode()), _MALFORMED),
    Case("nested without end", _statement(lambda _: b"[" * 100_000), _MALFORMED),
    Case("empty payload", _statement(lambda _: b""), _MALFORMED),
    Case("predicate is text", _statement(_set("predicate", to="x")), _MALFORMED),
    Case("no predicate", _statement(_drop("predicate")), _MALFORMED),
    Case("unknown statement type", _statement(_set("_type", to="https://in-toto.io/Statement/v9")), _MALFORMED),
    Case("predicate type is a list", _statement(_set("predicateType", to=[])), _MALFORMED),
    Case("SPDX by name only", _statement(_set("predicateType", to=attest.SBOM)), _MALFORMED),
    Case("link by name only", _statement(_set("predicateType", to=attest.LINK)), _MALFORMED),
    Case("link without a provenance", _link_to("latest"), _MALFORMED),
    Case("provenance without a source", _statement(_drop(*_PARAMETERS, "source")), _MALFORMED),
    Case("unknown external parameter", _statement(_set(*_PARAMETERS, "extra", to=1)), _MALFORMED),
    Case("another build type", _statement(_set("predicate", "buildDefinition", "buildType", to="x")), _MALFORMED),
    Case("provenance of nothing", _statement(_set("predicate", to={"a": 1})), _MALFORMED),
    Case("no commit", _statement(_set("predicate", "buildDefinition", "resolvedDependencies", to=[])), _MALFORMED),
    Case("two signatures", _bundle(_signatures(lambda one: [one, one])), _MALFORMED),
    Case("two signatures, one bad", _bundle(_signatures(lambda one: [one, {"sig": "AAAA"}])), _MALFORMED),
    Case("no signature", _bundle(_signatures(lambda one: [])), _MALFORMED),
    Case("key id", _bundle(_signatures(lambda one: [{**one, "keyid": "x"}])), _MALFORMED),
    Case("signature is not base64", _bundle(_signatures(lambda one: [{"sig": "%%%"}])), _MALFORMED),
    Case("payload is not base64", _bundle(_set("dsseEnvelope", "payload", to="%%%")), _MALFORMED),
    Case("unknown member in the bundle", _bundle(_set("extra", to=1)), _MALFORMED),
    Case("unknown member in the envelope", _bundle(_set("dsseEnvelope", "extra", to=1)), _MALFORMED),
    Case("a member twice in the bundle", _bundle(_twice("mediaType")), _MALFORMED),
    Case("another bundle version", _bundle(_set("mediaType", to="application/json")), _MALFORMED),
    Case("another payload type", _bundle(_set("dsseEnvelope", "payloadType", to="text/plain")), _MALFORMED),
    Case(
        "a log entry that nobody checks",
        _bundle(_set("verificationMaterial", "tlogEntries", to=[_ONE_MORE])),
        _MALFORMED,
    ),
    Case(
        "a certificate for a key",
        _bundle(_set("verificationMaterial", to={"certificate": {"rawBytes": ""}})),
        "missing_log_entry",
    ),
    Case("a truncated bundle", _bundle(lambda document: attest.compact(document)[:-20]), _MALFORMED),
    Case("an empty bundle", _bundle(lambda document: b""), _MALFORMED),
]
