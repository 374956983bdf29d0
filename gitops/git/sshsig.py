"""Signatures of git commits by an SSH key, as ``ssh-keygen -Y sign -n git`` makes them (OpenSSH's PROTOCOL.sshsig)."""

from __future__ import annotations

import base64
import hashlib
import struct
import textwrap
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

from pipeline.errors import Invalid
from pipeline.keys import read_private

MAGIC = b"SSHSIG"
NAMESPACE = b"git"
HASH = b"sha512"
OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
WIDTH = 70
_CURVES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class CommitKey:
    """An Ed25519 or ECDSA key that signs commits; the same commit again gets the same signature."""

    def __init__(self, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        self.public = public.decode()
        """As an ``allowed_signers`` file has it behind the address."""
        self._name, _, encoded = public.partition(b" ")
        self._blob = base64.b64decode(encoded)

    def signature(self, commit: bytes) -> bytes:
        """The armoured signature over a commit's bytes, ending in a newline."""
        digest = hashlib.sha512(commit).digest()
        told = _strings(NAMESPACE, b"", HASH)
        made = self._sign(MAGIC + told + _strings(digest))
        blob = MAGIC + struct.pack(">I", 1) + _strings(self._blob) + told + _strings(_strings(self._name, made))
        lines = textwrap.wrap(base64.b64encode(blob).decode(), WIDTH)
        return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        algorithm = ec.ECDSA(_CURVES[self._key.curve.name], deterministic_signing=True)
        return _strings(*map(_integer, utils.decode_dss_signature(self._key.sign(data, algorithm))))

    def __repr__(self) -> str:
        return f"CommitKey({self.public})"


def load(path: Path) -> CommitKey:
    """The private key in ``path``, in OpenSSH's form or PEM, without a passphrase.

    Raises Invalid, also when others than its owner may read it; the text never quotes the key.
    """
    data = read_private(path)
    read = (
        serialization.load_ssh_private_key if data.lstrip().startswith(OPENSSH) else serialization.load_pem_private_key
    )
    try:
        key = read(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid(f"{path} is no private key without a passphrase", reason="bad_key") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return CommitKey(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return CommitKey(key)
    raise Invalid(f"{path} is neither an Ed25519 nor an ECDSA key: ssh-keygen -t ed25519", reason="bad_key")


def _strings(*values: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


def _integer(value: int) -> bytes:
    """As SSH writes a positive number: shortest, big-endian, the first bit 0."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
