"""The signing key and the keys that are trusted: ECDSA over P-256 with SHA-256, as PEM files.

The private key is made at first start, readable by its owner alone, and is on the disk before anything is signed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.errors import Invalid
from pipeline.private import open_to_others

_SHA256 = ec.ECDSA(hashes.SHA256())
_REPEATABLE = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_LIMIT = 1 << 16


class PublicKey:
    """A key that may be trusted to sign; equal when the key is equal."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise Invalid("the key is not ECDSA over P-256", reason="bad_key")
        self._key = key
        self._der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read a public key. Raises Invalid."""
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise Invalid("not a public key in PEM", reason="bad_key") from None
        return cls(key)  # type: ignore[arg-type]  # the constructor checks

    @property
    def crypto(self) -> ec.EllipticCurvePublicKey:
        """The key as the library has it, for another library."""
        return self._key

    @property
    def pem(self) -> bytes:
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def hint(self) -> str:
        """base64 of the SHA-256 of the key's DER: by it a person finds the key; it proves nothing."""
        return base64.b64encode(hashlib.sha256(self._der).digest()).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """True when this key made ``signature`` (DER) over ``data``."""
        try:
            self._key.verify(signature, data, _SHA256)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self._der == other._der

    def __hash__(self) -> int:
        return hash(self._der)

    def __repr__(self) -> str:
        return f"PublicKey({self.hint})"


class Key(Protocol):
    """What signs: a key in a file, or one that never leaves its KMS, Vault or HSM.

    ``repeatable``: signing the same bytes again gives the same signature.
    """

    @property
    def public(self) -> PublicKey: ...

    @property
    def repeatable(self) -> bool: ...

    async def signature(self, data: bytes) -> bytes:
        """The signature over ``data`` in DER. Raises Unavailable."""
        ...


class SigningKey:
    """The private key; only the signer holds one. Signing the same bytes again gives the same signature (RFC 6979)."""

    repeatable = True

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Invalid("the key is not ECDSA over P-256", reason="bad_key")
        self.public = PublicKey(key.public_key())
        self._key = key

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read an unencrypted private key. Raises Invalid; the text never quotes the key."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Invalid("not an unencrypted private key in PEM", reason="bad_key") from None
        return cls(key)  # type: ignore[arg-type]  # the constructor checks

    @classmethod
    def generate(cls) -> Self:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> bytes:
        """The private key itself, PKCS #8, for the file that holds it and nothing else."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    async def signature(self, data: bytes) -> bytes:
        """As ``sign``, which takes microseconds."""
        return self.sign(data)

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data`` in DER."""
        return self._key.sign(data, _REPEATABLE)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hint})"


def load(path: Path) -> SigningKey:
    """The private key in ``path``. Raises Invalid if it is none, or if others than its owner may read it."""
    return SigningKey.from_pem(read_private(path))


def read_private(path: Path) -> bytes:
    """The file of a private key. Raises Invalid, also when others than its owner may read it."""
    data, status = _read(path)
    if open_to_others(status):
        raise Invalid(f"{path} may be read by others than its owner: chmod 600 it", reason="key_not_private")
    return data


def load_or_make(path: Path) -> SigningKey:
    """The private key in ``path``, made there first if there is none; of two makers at once, one wins for both."""
    if not path.exists():
        _make(path)
    return load(path)


def load_public(path: Path) -> PublicKey:
    """The public key in ``path``. Raises Invalid."""
    return PublicKey.from_pem(_read(path)[0])


def write_public(path: Path, key: PublicKey) -> None:
    """Put ``key`` into ``path`` for those who verify; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = _draft(path, key.pem, 0o644)
    draft.replace(path)
    _sync_directory(path.parent)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path, SigningKey.generate().pem, 0o600)
    try:
        # A hard link fails where a rename would replace the key that somebody else has just made and used.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _draft(path: Path, content: bytes, mode: int) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return draft


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """Content and status of one and the same file, whatever ``path`` names a moment later."""
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT), os.fstat(file.fileno())
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", reason="key_unreadable") from None
