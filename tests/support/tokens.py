"""A token service for a real registry: it knows one account and gives tokens that last a few seconds."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.certificates import write_certificates

LEEWAY = 60
"""Seconds for which the registry takes a token beyond its end."""


@contextlib.contextmanager
def token_service(folder: Path, *, basic: str, lasts: int) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The registry's ``auth`` section, and the scopes of the tokens that were given; ``basic``: the one login."""
    server, _ = write_certificates(folder)
    given: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            if self.headers["Authorization"] != basic:
                self.send_error(401)
                return
            given.extend(scopes)
            self._send(json.dumps({"token": _token(server, scopes, lasts), "expires_in": lasts}).encode())

        def do_POST(self) -> None:
            self.send_error(405)  # as a service without OAuth: clients fall back to GET

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - the base class' name
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        realm = f"http://127.0.0.1:{service.server_port}/token"
        section = {"realm": realm, "service": "r", "issuer": "t", "rootcertbundle": str(server / "ca.pem")}
        try:
            yield {"token": section}, given
        finally:
            service.shutdown()


def _token(server: Path, scopes: list[str], lasts: int) -> str:
    access = [
        {"type": kind, "name": name, "actions": actions.split(",")}
        for kind, name, actions in (scope.split(":") for one in scopes for scope in one.split(" "))
    ]
    now = int(time.time())
    claims = {
        "iss": "t", "sub": "me", "aud": "r", "nbf": now - 600, "iat": now, "exp": now - LEEWAY + lasts,
        "jti": str(time.time_ns()), "access": access,
    }  # fmt: skip
    certificate = x509.load_pem_x509_certificate((server / "cert.pem").read_bytes())
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    signed = f"{_part({'typ': 'JWT', 'alg': 'ES256', 'x5c': [der]})}.{_part(claims)}"
    key = serialization.load_pem_private_key((server / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    numbers = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_encoded(b''.join(number.to_bytes(32, 'big') for number in numbers))}"


def _part(value: object) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
