"""A certificate authority for one test, with a server's and a client's certificate, as files that BuildKit reads."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


def write_certificates(folder: Path) -> tuple[Path, Path]:
    """Two folders with ``ca.pem``, ``cert.pem`` and ``key.pem``: the server's, for 127.0.0.1, and the client's."""
    authority = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("ca", authority.public_key(), "ca", authority, authority=True)
    return _side(folder / "server", root, authority), _side(folder / "client", root, authority)


def _side(folder: Path, root: x509.Certificate, authority: Key) -> Path:
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    own = _certificate(folder.name, key.public_key(), "ca", authority, authority=False)
    plain = serialization.NoEncryption()
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    for name, data in (("ca", _pem(root)), ("cert", _pem(own)), ("key", written)):
        (folder / f"{name}.pem").write_bytes(data)
    return folder


def _certificate(
    name: str, public: ec.EllipticCurvePublicKey, issuer: str, signer: Key, *, authority: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
