"""A private Sigstore in small, over a socket: a Fulcio (v2 ``signingCert``) and a Rekor (v1 ``log/entries``).

Both speak the real protocols and check what the real ones check: Fulcio the token's signature and audience, and that
the request is signed by its key; Rekor that what is logged was signed by its certificate. Certificates carry an SCT,
entries their promise, inclusion proof and checkpoint. Keys are made anew for each; ``trusted_root`` is what strangers
get.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc import jwt
from joserfc.jwk import ECKey

from pipeline import attest
from tests.support.answering import answering

ISSUER = "https://issuer.example"
SUBJECT = "https://enclii.example/signer"
SHA256 = ec.ECDSA(hashes.SHA256())
_SCT = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER_OLD = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _log_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Authority:
    """Fulcio: a root that certifies for ``lifetime``, and the log that promises to list each certificate."""

    def __init__(self, *, lifetime: timedelta = timedelta(minutes=10)) -> None:
        self.lifetime = lifetime
        self.key, self.ct = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.tokens = ECKey.generate_key("P-256", private=True)
        self.root = self._root()

    def token(self, *, subject: str = SUBJECT, issuer: str = ISSUER, lifetime: float = 600.0) -> str:
        """What the OIDC provider gives a workload."""
        now = int(time.time())
        claims = {"iss": issuer, "sub": subject, "aud": "sigstore", "iat": now, "exp": now + int(lifetime)}
        return jwt.encode({"alg": "ES256"}, claims, self.tokens)

    def certificate(self, request: bytes, authorization: str) -> list[str]:
        """The chain in PEM for a certificate request. Raises ValueError for what it does not certify."""
        claims = jwt.decode(authorization.removeprefix("Bearer "), self.tokens).claims
        csr = x509.load_pem_x509_csr(request)
        if claims["aud"] != "sigstore" or claims["exp"] < time.time() or not csr.is_signature_valid:
            raise ValueError("not for us, or not by whom it says")
        public = csr.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        draft = self._draft(public, claims["sub"], claims["iss"])
        tbs = draft.sign(self.key, hashes.SHA256()).tbs_certificate_bytes
        leaf = draft.add_extension(x509.UnrecognizedExtension(_SCT, self._promise(tbs)), critical=False)
        chain = (leaf.sign(self.key, hashes.SHA256()), self.root)
        return [one.public_bytes(Encoding.PEM).decode() for one in chain]

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a root of the tests")])
        start = datetime.now(UTC) - timedelta(days=1)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        public = self.key.public_key()
        return (
            x509.CertificateBuilder(name, name, public, x509.random_serial_number(), start, start + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _draft(self, public: ec.EllipticCurvePublicKey, subject: str, issuer: str) -> x509.CertificateBuilder:
        start = datetime.now(UTC) - timedelta(seconds=1)
        nobody, serial = x509.Name([]), x509.random_serial_number()
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        text = issuer.encode()
        name = x509.RFC822Name(subject) if "@" in subject else x509.UniformResourceIdentifier(subject)
        return (
            x509.CertificateBuilder(self.root.subject, nobody, public, serial, start, start + self.lifetime)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_OLD, text), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER, b"\x0c" + bytes([len(text)]) + text), critical=False)
        )

    def _promise(self, tbs: bytes) -> bytes:
        """RFC 6962: the list of one signed certificate timestamp, as the extension's octet string."""
        at = int(time.time() * 1000)
        entry = struct.pack("!BBQH", 0, 0, at, 1) + _log_id(self.key) + len(tbs).to_bytes(3) + tbs + b"\0\0"
        signature = self.ct.sign(entry, SHA256)
        sct = b"\0" + _log_id(self.ct) + struct.pack("!Q", at) + b"\0\0" + b"\4\3"
        sct += len(signature).to_bytes(2) + signature
        listed = len(sct).to_bytes(2) + sct
        listed = len(listed).to_bytes(2) + listed
        return b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else b"\x81" + bytes([len(listed)])) + listed


class Log:
    """Rekor: a Merkle tree (RFC 6962) over what was logged; each answer proves its entry by the tree as it then is."""

    origin = "rekor.example - 1"
    tree = "0000000000000001"

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.leaves: list[bytes] = []
        self.ahead = 0  # seconds by which the log's clock is fast
        self._lock = threading.Lock()

    def add(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """One entry's answer. Raises ValueError for what is not signed as it says."""
        body = attest.compact(_canonical(proposed))
        with self._lock:
            self.leaves.append(hashlib.sha256(b"\0" + body).digest())
            index, size = len(self.leaves) - 1, len(self.leaves)
            root, path = _root(self.leaves), _path(self.leaves, index)
        told = {"body": _b64(body), "integratedTime": int(time.time()) + self.ahead, "logID": _log_id(self.key).hex()}
        told["logIndex"] = index
        promise = self.key.sign(json.dumps(told, separators=(",", ":"), sort_keys=True).encode(), SHA256)
        proof = {
            "checkpoint": self._checkpoint(size, root), "hashes": [one.hex() for one in path], "logIndex": index,
            "rootHash": root.hex(), "treeSize": size,
        }  # fmt: skip
        verification = {"inclusionProof": proof, "signedEntryTimestamp": _b64(promise)}
        return {self.tree + self.leaves[index].hex(): {**told, "verification": verification}}

    def _checkpoint(self, size: int, root: bytes) -> str:
        note = f"{self.origin}\n{size}\n{_b64(root)}\n"
        signature = _b64(_log_id(self.key)[:4] + self.key.sign(note.encode(), SHA256))
        return f"{note}\n— {self.origin.partition(' ')[0]} {signature}\n"


def _canonical(proposed: dict[str, Any]) -> dict[str, Any]:
    """What Rekor logs of a proposal, once the signature in it was checked."""
    spec = proposed["spec"]
    if proposed["kind"] == "dsse":
        content = spec["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload, (one,) = base64.b64decode(envelope["payload"]), envelope["signatures"]
        _check(content["verifiers"][0], one["sig"], attest.pae(payload))
        spec = {
            "envelopeHash": _hash(content["envelope"].encode()),
            "payloadHash": _hash(payload),
            "signatures": [{"signature": one["sig"], "verifier": content["verifiers"][0]}],
        }
    else:
        signature, digest = spec["signature"], bytes.fromhex(spec["data"]["hash"]["value"])
        key = _key(signature["publicKey"]["content"])
        key.verify(base64.b64decode(signature["content"]), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        spec = {
            "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
            "signature": {"content": signature["content"], "publicKey": signature["publicKey"]},
        }
    return {"apiVersion": proposed["apiVersion"], "kind": proposed["kind"], "spec": spec}


def _hash(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _key(pem: str) -> ec.EllipticCurvePublicKey:
    key = x509.load_pem_x509_certificate(base64.b64decode(pem)).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _check(pem: str, signature: str, data: bytes) -> None:
    _key(pem).verify(base64.b64decode(signature), data, SHA256)


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(leaves[:middle]) + _root(leaves[middle:])).digest()


def _path(leaves: list[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    if index < middle:
        return [*_path(leaves[:middle], index), _root(leaves[middle:])]
    return [*_path(leaves[middle:], index - middle), _root(leaves[:middle])]


class Sigstore:
    """Both servers at one address; ``down`` makes them answer 503."""

    def __init__(self, authority: Authority) -> None:
        self.authority, self.log, self.down = authority, Log(), False
        self.url = ""
        self.issued = 0

    @cached_property
    def trusted_root(self) -> dict[str, Any]:
        """Sigstore's TrustedRoot, as any client reads it."""
        since = {"start": (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")}
        root = self.authority.root
        subject = {"organization": "tests", "commonName": "a root of the tests"}
        chain = {"certificates": [{"rawBytes": _b64(root.public_bytes(Encoding.DER))}]}
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._instance(self.log.key, since)],
            "certificateAuthorities": [{"subject": subject, "uri": self.url, "certChain": chain, "validFor": since}],
            "ctlogs": [self._instance(self.authority.ct, since)],
        }

    def _instance(self, key: ec.EllipticCurvePrivateKey, since: dict[str, str]) -> dict[str, Any]:
        public = {"rawBytes": _b64(_spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since}
        known = {"keyId": _b64(_log_id(key))}
        return {"baseUrl": self.url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": known}

    def write_root(self, path: Path, *, ended: bool = False) -> Path:
        """Into a file; ``ended``: with an authority that certifies no more, and did not when it signed."""
        root = json.loads(json.dumps(self.trusted_root))
        if ended:
            end = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            root["certificateAuthorities"][0]["validFor"]["end"] = end
        path.write_text(json.dumps(root))
        return path

    def answer(
        self, _method: str, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        authorization = headers.get("authorization", "")
        if self.down:
            return 503, {"code": 503, "message": "down"}
        try:
            if path == "/api/v2/signingCert":
                chain = self.authority.certificate(base64.b64decode(body["certificateSigningRequest"]), authorization)
                self.issued += 1
                return 200, {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}
            if path == "/api/v1/log/entries":
                return 201, self.log.add(body)
        except Exception as error:
            return 400, {"code": 400, "message": type(error).__name__}
        return 404, {"code": 404, "message": "no such path"}


@contextmanager
def running_sigstore(authority: Authority | None = None) -> Iterator[Sigstore]:
    """The private instance at ``url`` while it runs."""
    sigstore = Sigstore(authority or Authority())
    with answering(sigstore.answer) as sigstore.url:
        yield sigstore
