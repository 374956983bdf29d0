"""A Vault in small: the transit engine's ``keys`` and ``sign`` as its HTTP API documents them, over a socket.

It signs with real keys of the kind ``ecdsa-p256``, one a version, checks the token, and answers errors as Vault does.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.keys import SigningKey
from tests.support.answering import answering

TOKEN = "hvs.only-for-tests"
KEYS = "/v1/transit/keys/"
SIGN = "/v1/transit/sign/"


class Vault:
    """``keys`` are the versions of the key ``enclii``, from 1."""

    def __init__(self) -> None:
        self.keys = [SigningKey.generate()]
        self.url = ""
        self.sealed = False

    def answer(
        self, method: str, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if headers.get("x-vault-token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if method == "GET" and path == f"{KEYS}enclii":
            return 200, {"data": self._described()}
        if method in ("POST", "PUT") and path.startswith(f"{SIGN}enclii"):
            return self._signed(path.removeprefix(f"{SIGN}enclii"), body)
        return 404, {"errors": []}

    def _described(self) -> dict[str, Any]:
        versions = {
            str(number): {
                "name": "P-256",
                "public_key": key.public.pem.decode(),
                "creation_time": "2026-01-01T00:00:00Z",
            }
            for number, key in enumerate(self.keys, 1)
        }
        return {"name": "enclii", "type": "ecdsa-p256", "latest_version": len(self.keys), "keys": versions}

    def _signed(self, algorithm: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        version = int(body.get("key_version") or len(self.keys))
        if algorithm not in ("", "/sha2-256") or body.get("marshaling_algorithm", "asn1") != "asn1":
            return 400, {"errors": ["unsupported"]}
        if not 1 <= version <= len(self.keys):
            return 400, {"errors": ["cannot sign: no such version"]}
        made = self.keys[version - 1].sign(base64.b64decode(body["input"]))
        return 200, {
            "data": {"signature": f"vault:v{version}:{base64.b64encode(made).decode()}", "key_version": version}
        }


@contextmanager
def running_vault() -> Iterator[Vault]:
    """The Vault at ``url`` while it runs."""
    vault = Vault()
    with answering(vault.answer) as vault.url:
        yield vault
