from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pipeline import keys
from pipeline.errors import Invalid
from pipeline.keys import PublicKey, SigningKey


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"

    made, again = keys.load_or_make(path), keys.load_or_make(path)

    assert made.public == again.public
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["signing.pem"]


def test_of_several_makers_at_once_all_get_the_same_key(tmp_path: Path) -> None:
    path, found, start = tmp_path / "signing.pem", set(), threading.Barrier(8)

    def make() -> None:
        start.wait()
        found.add(keys.load_or_make(path).public)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 1


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    keys.load_or_make(path)
    path.chmod(0o640)

    with pytest.raises(Invalid) as caught:
        keys.load(path)

    assert caught.value.reason == "key_not_private"


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_holds_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(Invalid) as caught:
        keys.load_or_make(path)

    assert caught.value.reason == "bad_key"
    assert path.read_bytes() == content


def test_a_missing_public_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"key\.pub cannot be read"):
        keys.load_public(tmp_path / "key.pub")


def test_only_ecdsa_over_p256_is_taken() -> None:
    other_curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    other_kind = rsa.generate_private_key(65537, 2048)

    for public in (other_curve, other_kind.public_key()):
        with pytest.raises(Invalid, match="not ECDSA over P-256"):
            PublicKey.from_pem(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(Invalid, match="not ECDSA over P-256"):
        SigningKey.from_pem(other_kind.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_signing_the_same_bytes_twice_gives_the_same_signature() -> None:
    key = SigningKey.generate()

    assert key.sign(b"data") == key.sign(b"data")


def test_a_signature_holds_for_its_key_and_bytes_only() -> None:
    key = SigningKey.generate()
    signature = key.sign(b"data")

    assert key.public.verifies(signature, b"data")
    assert not key.public.verifies(signature, b"date")
    assert not key.public.verifies(signature + b"\0", b"data")
    assert not key.public.verifies(b"", b"data")
    assert not SigningKey.generate().public.verifies(signature, b"data")


def test_the_public_key_survives_its_file(tmp_path: Path) -> None:
    key = SigningKey.generate().public
    keys.write_public(tmp_path / "key.pub", key)

    assert keys.load_public(tmp_path / "key.pub") == key
    assert [one.name for one in tmp_path.iterdir()] == ["key.pub"]


def test_no_text_shows_the_private_key() -> None:
    key = SigningKey.generate()

    assert repr(key) == f"SigningKey({key.public.hint})"
