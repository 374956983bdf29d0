"""A value that only one process can read: sealed to its X25519 key, and bound to what it is for.

X25519 with a key made for this one value, HKDF-SHA-256 (RFC 5869) over both public keys, ChaCha20-Poly1305 (RFC 8439)
with ``context`` as associated data: what was sealed for one service can't be moved to another.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import Invalid

KEY_BYTES = 32
NONCE_BYTES = 12
_INFO = b"enclii sealed value v1"


def seal(value: bytes, *, to: bytes, context: bytes) -> bytes:
    """``value`` for the holder of the private part of ``to`` (32 bytes). Raises Invalid for what is no key."""
    try:
        receiver = X25519PublicKey.from_public_bytes(to)
        sender = X25519PrivateKey.generate()
        shared = sender.exchange(receiver)
    except ValueError:
        raise Invalid("not an X25519 public key", reason="bad_key") from None
    public, nonce = sender.public_key().public_bytes_raw(), os.urandom(NONCE_BYTES)
    return public + nonce + _cipher(shared, public, to).encrypt(nonce, value, context)


class Opener:
    """The private key; only the process that owns the cluster's secrets holds one."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """The value. Raises Invalid when it was sealed for another key or another context, or was changed."""
        sender, nonce, rest = sealed[:KEY_BYTES], sealed[KEY_BYTES:][:NONCE_BYTES], sealed[KEY_BYTES + NONCE_BYTES :]
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(sender))
            return _cipher(shared, sender, self.public).decrypt(nonce, rest, context)
        except (ValueError, InvalidTag):
            raise Invalid(
                "the value was not sealed for this installation and this place", reason="not_sealed"
            ) from None

    def __repr__(self) -> str:
        return "Opener()"


def load_or_make(path: Path) -> Opener:
    """The key in ``path``, made at first start, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(made, "wb") as file:
            file.write(X25519PrivateKey.generate().private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())
    found = path.read_bytes()
    if len(found) != KEY_BYTES:
        raise Invalid(f"{path} holds no X25519 key: delete it, and set the secrets again", reason="bad_key")
    if path.stat().st_mode & 0o077:
        raise Invalid(f"{path} may be read by others than its owner: chmod 600 it", reason="key_not_private")
    return Opener(X25519PrivateKey.from_private_bytes(found))


def _cipher(shared: bytes, sender: bytes, receiver: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(HKDF(algorithm=SHA256(), length=32, salt=sender + receiver, info=_INFO).derive(shared))
