"""Signatures that hold for nothing, or for something else: by whom, over what, and in which bytes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from pipeline import attest
from pipeline.images import ImageRef
from pipeline.keys import SigningKey
from tests.support.forgeries import (
    Build,
    Case,
    decoded,
    facts,
    in_bundle,
    sealed,
    signatures,
)

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256."""

_FIELD = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_RAW = "reads r and s one after the other too"

Bytes = Callable[[bytes], bytes]
Numbers = Callable[[int, int], tuple[int, int]]


def changed(change: Bytes) -> Build:
    """The sound signature in other bytes."""

    def edit(one: dict[str, Any]) -> list[Any]:
        return [{"sig": base64.b64encode(change(base64.b64decode(one["sig"]))).decode()}]

    return in_bundle(signatures(edit))


def _numbers(change: Numbers) -> Build:
    """A signature of two other numbers than the ones that were signed."""
    return changed(lambda signature: utils.encode_dss_signature(*change(*utils.decode_dss_signature(signature))))


def _made_by(sign: Callable[[SigningKey, bytes], bytes]) -> Build:
    """A sound statement with a signature that ``sign`` makes of its payload."""

    def build(key: SigningKey, image: ImageRef) -> bytes:
        payload = attest.provenance_statement(image, facts())
        return attest.bundle(payload, sign(key, payload), key.public.hint)

    return build


def _other_key(_key: SigningKey, image: ImageRef) -> bytes:
    return sealed(SigningKey.generate(), attest.provenance_statement(image, facts()))


def _of_another_statement(key: SigningKey, image: ImageRef) -> bytes:
    signature = key.sign(attest.pae(attest.signature_statement(image)))
    return attest.bundle(attest.provenance_statement(image, facts()), signature, key.public.hint)


def _of_another_image(key: SigningKey, image: ImageRef) -> bytes:
    other = ImageRef(image.registry, image.repository, "sha256:" + "0" * 64)
    signature = key.sign(attest.pae(attest.provenance_statement(other, facts())))
    return attest.bundle(attest.provenance_statement(image, facts()), signature, key.public.hint)


def _on(curve: ec.EllipticCurve) -> Build:
    def sign(_: SigningKey, payload: bytes) -> bytes:
        return ec.generate_private_key(curve).sign(attest.pae(payload), ec.ECDSA(hashes.SHA256()))

    return _made_by(sign)


def _hashed_by(algorithm: hashes.HashAlgorithm) -> Build:
    def sign(key: SigningKey, payload: bytes) -> bytes:
        ours = serialization.load_pem_private_key(key.pem, password=None)
        assert isinstance(ours, ec.EllipticCurvePrivateKey)
        return ours.sign(attest.pae(payload), ec.ECDSA(algorithm))

    return _made_by(sign)


def _by_rsa(_: SigningKey, payload: bytes) -> bytes:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.sign(attest.pae(payload), padding.PKCS1v15(), hashes.SHA256())


def _by_ed25519(_: SigningKey, payload: bytes) -> bytes:
    return ed25519.Ed25519PrivateKey.generate().sign(attest.pae(payload))


def _encoded_as(text: bytes) -> Build:
    """A signature over another encoding of what is signed; ``text`` has a place for the length and for the payload."""
    return _made_by(lambda key, payload: key.sign(text % (len(payload), payload)))


def _flipped_payload(document: dict[str, Any]) -> None:
    payload = decoded(document)
    payload[-3] ^= 1
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


def _blank_after_payload(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["payload"] = base64.b64encode(decoded(document) + b"\n").decode()


def _integers(signature: bytes) -> tuple[bytes, bytes]:
    """r and s as they stand in DER, each with its tag and length."""
    middle = 4 + signature[3]
    return signature[2:middle], signature[middle:]


def _sequence(content: bytes) -> bytes:
    return bytes((0x30, len(content))) + content


def _negative(integer: bytes) -> bytes:
    """The number below zero of the same size, as DER writes it."""
    number = -int.from_bytes(integer[2:], "big", signed=True)
    content = number.to_bytes(34, "big", signed=True).lstrip(b"\xff") or b"\xff"
    content = content if content[0] & 0x80 else b"\xff" + content
    return bytes((2, len(content))) + content


def _padded(signature: bytes) -> bytes:
    """A zero before r that says nothing: BER reads it, DER forbids it."""
    r, s = _integers(signature)
    return _sequence(bytes((2, r[1] + 1, 0)) + r[2:] + s)


def _long_length(signature: bytes) -> bytes:
    return b"\x30\x81" + signature[1:]


def _without_end(signature: bytes) -> bytes:
    return b"\x30\x80" + signature[2:] + b"\x00\x00"


def _three(signature: bytes) -> bytes:
    return _sequence(signature[2:] + b"\x02\x01\x01")


def _raw(signature: bytes) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in utils.decode_dss_signature(signature))


def twin(signature: bytes) -> bytes:
    """The other signature that every ECDSA signature has: signature bytes are no identity."""
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, _ORDER - s)


def _der(r: int, s: int) -> Bytes:
    return lambda _: utils.encode_dss_signature(r, s)


def _flip(at: int) -> Bytes:
    return lambda one: one[:at] + bytes([one[at] ^ 1]) + one[at + 1 or len(one) :]


SIGNATURES = [
    Case(name, build, "wrong_key", said)
    for name, build, said in (
        ("other key", _other_key, ""),
        ("other key with our hint", _made_by(lambda _, text: SigningKey.generate().sign(attest.pae(text))), ""),
        ("flipped payload", in_bundle(_flipped_payload), ""),
        ("a line's end after the payload", in_bundle(_blank_after_payload), ""),
        ("flipped signature", changed(_flip(-1)), ""),
        ("signature flipped in r", changed(_flip(9)), ""),
        ("truncated signature", changed(lambda one: one[:-1]), ""),
        ("half a signature", changed(lambda one: _sequence(_integers(one)[0])), ""),
        ("signature with a tail", changed(lambda one: one + b"\0"), ""),
        ("a signature of three numbers", changed(_three), ""),
        ("raw signature", changed(_raw), _RAW),
        ("signature in a long form of its length", changed(_long_length), ""),
        ("signature of no stated length", changed(_without_end), ""),
        ("signature with a zero too many", changed(_padded), ""),
        ("r and s exchanged", _numbers(lambda r, s: (s, r)), ""),
        ("r is zero", _numbers(lambda _, s: (0, s)), ""),
        ("s is zero", _numbers(lambda r, _: (r, 0)), ""),
        ("zero signature", changed(_der(0, 0)), ""),
        ("one for r and s", changed(_der(1, 1)), ""),
        ("r is the group's order", _numbers(lambda _, s: (_ORDER, s)), ""),
        ("s is the group's order", _numbers(lambda r, _: (r, _ORDER)), ""),
        ("r beyond the group's order", _numbers(lambda r, s: (r + _ORDER, s)), ""),
        ("s beyond the group's order", _numbers(lambda r, s: (r, s + _ORDER)), ""),
        ("r is the field's prime", _numbers(lambda _, s: (_FIELD, s)), ""),
        ("negative r", changed(lambda one: _sequence(_negative(_integers(one)[0]) + _integers(one)[1])), ""),
        ("negative s", changed(lambda one: _sequence(_integers(one)[0] + _negative(_integers(one)[1]))), ""),
        ("64 zero bytes", changed(lambda _: bytes(64)), ""),
        ("signature of one byte", changed(lambda _: b"\x30"), ""),
        ("signature of 100,000 bytes", changed(lambda one: one + bytes(100_000)), ""),
        ("a key of P-384", _on(ec.SECP384R1()), ""),
        ("a key of secp256k1", _on(ec.SECP256K1()), ""),
        ("an RSA signature", _made_by(_by_rsa), ""),
        ("an Ed25519 signature", _made_by(_by_ed25519), ""),
        ("our key over SHA-384", _hashed_by(hashes.SHA384()), ""),
        ("our key over SHA-512", _hashed_by(hashes.SHA512()), ""),
        ("signature of another statement", _of_another_statement, ""),
        ("signature of the same statement about another image", _of_another_image, ""),
        ("payload signed without its type", _made_by(lambda key, payload: key.sign(payload)), ""),
        ("payload signed as another type", _encoded_as(b"DSSEv1 10 text/plain %d %s"), ""),
        ("payload signed by another version of DSSE", _encoded_as(b"DSSEv2 28 application/vnd.in-toto+json %d %s"), ""),
        ("base64 signed in the place of the payload", _made_by(
            lambda key, payload: key.sign(attest.pae(base64.b64encode(payload)))), ""),
    )
]  # fmt: skip
