"""One issuer of tokens: its discovery document and its keys, fetched when they are needed and fetched again when they
turned, and the signature check that every token of it goes through.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import httpx2
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from console.identity.claims import wrong
from pipeline.errors import Unavailable

WELL_KNOWN: Final = "/.well-known/openid-configuration"
SAFE: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""Signatures by a key that only the issuer has; never ``none``, and none that is made with a shared secret."""
KINDS: Final = frozenset({"RSA", "EC", "OKP"})
ANSWER_LIMIT: Final = 5.0
DOCUMENT_LIMIT: Final = 1 << 20
TOKEN_LIMIT: Final = 16 << 10
KEEP: Final = 3600.0
AGAIN: Final = 10.0
"""Seconds between two looks for new keys: a stranger's made-up key id must not make us a nuisance."""


class Issuer:
    """Verifies tokens of one issuer. Every call raises Unavailable while that does not answer."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []
        self._at = -KEEP
        self._lock = asyncio.Lock()

    async def metadata(self) -> Mapping[str, Any]:
        """The discovery document."""
        await self._fresh(KEEP)
        return self._metadata

    async def verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that this issuer signed; what they say is still to be checked. Raises Refused."""
        header = _header(token)
        for age in (KEEP, AGAIN):  # keys that turned may have kept their ids, or have none
            await self._fresh(age)
            if (claims := _claims(token, header["alg"], self._candidates(header))) is not None:
                return claims
        raise wrong("bad_signature", "no key of the issuer signed it")

    def _candidates(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The keys that may have signed it; a token without a key id may be by any."""
        wanted = header.get("kid")
        return [key for key in self._keys if wanted is None or key.get("kid") == wanted]

    async def _fresh(self, seconds: float) -> None:
        """What was fetched, unless it is older than that; with old keys one goes on while the issuer is away."""
        async with self._lock:
            if self._clock() - self._at < seconds:
                return
            try:
                metadata = await fetched(self.url.rstrip("/") + WELL_KNOWN)
                if metadata.get("issuer") != self.url:
                    raise Unavailable(
                        f"the identity provider says that it is {str(metadata.get('issuer'))[:200]!r}, not {self.url}",
                        reason="issuer_changed",
                    )
                keys = (await fetched(str(metadata.get("jwks_uri", "")))).get("keys", [])
            except Unavailable as error:
                if not self._keys or error.reason == "issuer_changed":
                    raise
                self._at = self._clock() - seconds + AGAIN
                return
            self._metadata, self._keys, self._at = metadata, [one for one in keys if _usable(one)], self._clock()


async def fetched(url: str, token: str = "") -> dict[str, Any]:
    """The JSON object at an address, with ``token`` as its bearer's. Raises Unavailable."""
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        async with httpx2.AsyncClient(timeout=ANSWER_LIMIT, follow_redirects=False) as client:
            answer = await client.get(url, headers=headers)
            found = json.loads(answer.content[:DOCUMENT_LIMIT]) if answer.status_code == 200 else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError) as error:
        raise away(url, type(error).__name__) from error
    if not isinstance(found, dict):
        raise away(url, f"status {answer.status_code}")
    return found


def away(url: str, what: str) -> Unavailable:
    """The provider cannot be asked."""
    host = httpx2.URL(url).host if url.startswith("http") else "?"
    return Unavailable(f"the identity provider at {host} does not answer as it should: {what}", reason="provider_away")


def _claims(token: str, algorithm: str, keys: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a token says whose signature one of the keys made."""
    for key in keys:
        with contextlib.suppress(JoseError, ValueError, TypeError, KeyError):
            return dict(jwt.decode(token, jwk.import_key(dict(key)), algorithms=[algorithm]).claims)
    return None


def _usable(key: Any) -> bool:
    return isinstance(key, dict) and key.get("kty") in KINDS and key.get("use", "sig") == "sig"


def _header(token: str) -> dict[str, Any]:
    """A token's header, if it is signed in a safe way. Raises Refused."""
    if len(token) > TOKEN_LIMIT or token.count(".") != 2:
        raise wrong("bad_token", "it is no signed token")
    import base64

    head = token.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        raise wrong("bad_token", "it is no signed token") from None
    if not isinstance(found, dict) or found.get("alg") not in SAFE:
        raise wrong("bad_algorithm", "it is not signed with a key of the issuer")
    return found
