"""Bundles and envelopes that are not what a sigstore bundle is, each around a sound statement soundly signed."""

from __future__ import annotations

import base64
import gzip
import json
import string
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline import attest
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from tests.support.forged_signatures import changed, twin
from tests.support.forgeries import (
    MALFORMED,
    Build,
    Case,
    Change,
    drop,
    facts,
    in_bundle,
    pretty,
    put,
    renamed,
    reworded,
    sealed,
    signatures,
    twice,
)

_MATERIAL = "verificationMaterial"
_KEY = (_MATERIAL, "publicKey")
_MORE = {"logIndex": "1"}
_KEY_ONLY = "looks at what belongs to the key alone"
_LENIENT = "reads base64 that is written otherwise too"
_BY_NAME = "reads the names of protocol buffers too"

UNCHECKED_LOG = put(_MATERIAL, "tlogEntries", to=[_MORE])


def _holder(document: dict[str, Any], name: str) -> dict[str, Any]:
    envelope: dict[str, Any] = document["dsseEnvelope"]
    return envelope if name == "payload" else dict(envelope)["signatures"][0]


def _base64(name: str, change: Callable[[str], str], *, where: Callable[[str], bool] = bool) -> Build:
    """The base64 of the payload, or of the signature, written otherwise; ``where``: a text that the change changes."""

    def build(key: SigningKey, image: ImageRef) -> bytes:
        for number in range(200):
            told = replace(facts(), invocation_id="r-" + "1" * number)
            document: dict[str, Any] = json.loads(sealed(key, attest.provenance_statement(image, told)))
            holder = _holder(document, name)
            if where(holder[name]):
                holder[name] = change(holder[name])
                return attest.compact(document)
        raise AssertionError(f"no {name} is written so")

    return build


def _url_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


def _padded(text: str) -> bool:
    return text.endswith("=")


def _full(text: str) -> bool:
    return not _padded(text)


def _other_bits(text: str) -> str:
    """The bits of the last letter that stand for no byte are not zero, as a writer leaves them."""
    letters = text.rstrip("=")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    return letters[:-1] + alphabet[alphabet.index(letters[-1]) | 1] + "=" * (len(text) - len(letters))


def _signature(change: Change) -> Change:
    return signatures(lambda one: [change(one) or one])


def _wrapped(text: str) -> str:
    """Four ends of a line each time: cosign takes base64 by its length, which stays a multiple of four."""
    return "\n\n\n\n".join(text[at : at + 64] for at in range(0, len(text), 64))


def _fingerprint(document: dict[str, Any]) -> None:
    """The hint for a key id, as some tools write it."""
    document["dsseEnvelope"]["signatures"][0]["keyid"] = document[_MATERIAL]["publicKey"]["hint"]


def _bytes(change: Any) -> Build:
    return in_bundle(lambda document: change(attest.compact(document)))


def _message(document: dict[str, Any]) -> None:
    """The bundle of a signed blob: a digest where the envelope should be."""
    digest = {"algorithm": "SHA2_256", "digest": base64.b64encode(bytes(32)).decode()}
    signed = document.pop("dsseEnvelope")["signatures"][0]["sig"]
    document["messageSignature"] = {"messageDigest": digest, "signature": signed}


def _message_beside(document: dict[str, Any]) -> None:
    envelope = document["dsseEnvelope"]
    _message(document)
    document["dsseEnvelope"] = envelope


def _envelope_alone(document: dict[str, Any]) -> bytes:
    return attest.compact(document["dsseEnvelope"])


_SOUND: list[tuple[str, Change]] = [
    ("pretty-printed bundle", pretty),
    ("empty key id", _signature(put("keyid", to=""))),
    ("no hint", drop(*_KEY, "hint")),
    ("wrong hint", put(*_KEY, "hint", to="bm9ib2R5")),
    ("null log entries", put(_MATERIAL, "tlogEntries", to=None)),
    ("no log entries", put(_MATERIAL, "tlogEntries", to=[])),
]

SOUND = [*(Case(name, in_bundle(change)) for name, change in _SOUND), Case("twin signature", changed(twin))]

_FORGED: list[tuple[str, Change, str]] = [
    ("another bundle version", put("mediaType", to="application/json"), ""),
    ("a bundle of version 0.9", put("mediaType", to="application/vnd.dev.sigstore.bundle.v0.9+json"), ""),
    ("a bundle without its version", drop("mediaType"), ""),
    ("a bundle's version as a number", put("mediaType", to=3), ""),
    ("unknown member in the bundle", put("extra", to=1), ""),
    ("a member twice in the bundle", twice("mediaType"), ""),
    ("the envelope twice in the bundle", twice("dsseEnvelope"), ""),
    ("the envelope under another name", renamed("dsseEnvelope", "dsse_envelope"), _BY_NAME),
    ("the envelope in capitals", renamed("dsseEnvelope", "DSSEENVELOPE"), ""),
    ("an envelope outside of its bundle", _envelope_alone, ""),
    ("no envelope", drop("dsseEnvelope"), ""),
    ("the envelope is text", put("dsseEnvelope", to="{}"), ""),
    ("the envelope is nothing", put("dsseEnvelope", to=None), ""),
    ("a signed digest for an envelope", _message, ""),
    ("a signed digest beside the envelope", _message_beside, ""),
    ("no material", drop(_MATERIAL), ""),
    ("the material is a list", put(_MATERIAL, to=[]), ""),
    ("material of nothing", put(_MATERIAL, to={}), ""),
    ("unknown member in the material", put(_MATERIAL, "extra", to=1), ""),
    ("a log entry that nobody checks", UNCHECKED_LOG, ""),
    ("log entries as text", put(_MATERIAL, "tlogEntries", to="none"), ""),
    (
        "a timestamp that nobody checks",
        put(_MATERIAL, "timestampVerificationData", to={"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}]}),
        _KEY_ONLY,
    ),
    ("the key is text", put(*_KEY, to="ours"), ""),
    ("a key that the bundle brings along", put(*_KEY, "rawBytes", to="AAAA"), ""),
    ("the hint is a number", put(*_KEY, "hint", to=7), ""),
    ("a chain of certificates beside the key", put(_MATERIAL, "x509CertificateChain", to={"certificates": []}), ""),
    ("unknown member in the envelope", put("dsseEnvelope", "extra", to=1), ""),
    ("a member twice in the envelope", reworded('"payloadType":', '"payloadType":"text/plain","payloadType":'), ""),
    ("another payload type", put("dsseEnvelope", "payloadType", to="text/plain"), ""),
    ("the payload type in capitals", put("dsseEnvelope", "payloadType", to=attest.PAYLOAD_TYPE.upper()), ""),
    ("the payload type with a parameter", put("dsseEnvelope", "payloadType", to=attest.PAYLOAD_TYPE + ";v=1"), ""),
    ("no payload type", drop("dsseEnvelope", "payloadType"), ""),
    ("no payload", drop("dsseEnvelope", "payload"), ""),
    ("the payload is an object", put("dsseEnvelope", "payload", to={}), ""),
    ("payload is not base64", put("dsseEnvelope", "payload", to="%%%"), ""),
    ("no signature", signatures(lambda _: []), ""),
    ("no list of signatures", drop("dsseEnvelope", "signatures"), ""),
    ("signatures are nothing", put("dsseEnvelope", "signatures", to=None), ""),
    ("the signature outside of a list", signatures(lambda one: one), ""),
    ("the signature is bare text", signatures(lambda one: [one["sig"]]), ""),
    ("two signatures", signatures(lambda one: [one, one]), ""),
    ("two signatures, one bad", signatures(lambda one: [one, {"sig": "AAAA"}]), ""),
    ("two signatures, the bad one first", signatures(lambda one: [{"sig": "AAAA"}, one]), ""),
    ("key id", _signature(put("keyid", to="x")), ""),
    ("the hint for a key id", _fingerprint, ""),
    ("key id is a number", _signature(put("keyid", to=1)), ""),
    ("a certificate in the signature", _signature(put("cert", to="AAAA")), ""),
    ("a signature twice in one", reworded('"sig":', '"sig":"AAAA","sig":'), ""),
    ("an empty signature", _signature(put("sig", to="")), ""),
    ("a signature of nothing", _signature(put("sig", to=None)), ""),
    ("no bytes of a signature", _signature(drop("sig")), ""),
    ("signature is not base64", _signature(put("sig", to="%%%")), ""),
]

_WRITTEN: list[tuple[str, Any, str]] = [
    ("a truncated bundle", lambda text: text[:-20], ""),
    ("an empty bundle", lambda _: b"", ""),
    ("a bundle of blanks", lambda _: b" \n", ""),
    ("a bundle that is null", lambda _: b"null", ""),
    ("a bundle in a list", lambda text: b"[" + text + b"]", ""),
    ("a bundle that is text", lambda text: json.dumps(text.decode()).encode(), ""),
    ("two bundles", lambda text: text + b"\n" + text, ""),
    ("text after the bundle", lambda text: text + b"x", ""),
    ("byte order mark before the bundle", lambda text: b"\xef\xbb\xbf" + text, ""),
    ("a bundle in UTF-16", lambda text: text.decode().encode("utf-16"), ""),
    ("a bundle that is no UTF-8", lambda text: text.replace(b"publicKey", b"publicKe\xff"), ""),
    ("a compressed bundle in the place of one", gzip.compress, "unpacks what is compressed"),
    ("a bundle nested without end", lambda _: b'{"mediaType":' * 100_000, ""),
]

_CODED: list[tuple[str, Build, str]] = [
    ("payload in base64 of several lines", _base64("payload", _wrapped), _LENIENT),
    ("payload with a blank in its base64", _base64("payload", lambda text: text[:8] + " " + text[8:]), ""),
    ("payload without its padding", _base64("payload", lambda text: text.rstrip("="), where=_padded), _LENIENT),
    ("payload with padding that it does not need", _base64("payload", lambda text: text + "==", where=_full), ""),
    ("payload with more padding than it needs", _base64("payload", lambda text: text + "=", where=_padded), ""),
    ("payload with bits that stand for nothing", _base64("payload", _other_bits, where=_padded), _LENIENT),
    ("payload twice in its base64", _base64("payload", lambda text: text + text, where=_padded), ""),
    ("signature in URL-safe base64", _base64("sig", _url_safe, where=lambda text: _url_safe(text) != text), _LENIENT),
    ("signature in base64 of several lines", _base64("sig", _wrapped), _LENIENT),
    ("signature without its padding", _base64("sig", lambda text: text.rstrip("="), where=_padded), _LENIENT),
    ("signature with padding that it does not need", _base64("sig", lambda text: text + "==", where=_full), ""),
    ("signature with bits that stand for nothing", _base64("sig", _other_bits, where=_padded), _LENIENT),
    ("signature in letters that only look so", _base64("sig", lambda text: "\uff2d" + text[1:]), ""),
]

BUNDLES = [
    *(Case(name, build, MALFORMED, said) for name, build, said in _CODED),
    *(Case(name, in_bundle(change), MALFORMED, said) for name, change, said in _FORGED),
    *(Case(name, _bytes(change), MALFORMED, said) for name, change, said in _WRITTEN),
    Case(
        "a certificate for a key",
        in_bundle(put(_MATERIAL, to={"certificate": {"rawBytes": ""}})),
        "missing_log_entry",
    ),
]
