"""Tokens of issuers that the API believes: the provider where people log in, and others such as a CI's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from console.identity import claims
from console.identity.claims import Naming, wrong
from console.identity.issuer import TOKEN_LIMIT, Issuer
from pipeline.access import Principal


class Bearers:
    """Checks JWTs of several issuers for one audience."""

    def __init__(
        self,
        *,
        people: Issuer | None,
        others: Sequence[Issuer],
        audience: str,
        naming: Naming,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._people = people
        self._issuers = {one.url: one for one in (*others, *([people] if people else []))}
        self._audience = audience
        self._naming = naming
        self._clock = clock

    async def principal(self, token: str) -> Principal | None:
        """Whose token that is; None for what is no JWT. Raises Refused, which says why, and Unavailable."""
        if token.count(".") != 2:
            return None
        issuer = self._issuers.get(_claimed_issuer(token))
        if issuer is None:
            raise wrong("wrong_issuer", "it is of an issuer that is not believed here")
        said = await issuer.verified(token)
        claims.check(said, issuer=issuer.url, audience=self._audience, now=self._clock())
        if "events" in said:
            raise wrong("bad_token", "it is no token for an API")
        prefix = "" if issuer is self._people else kept_apart(issuer.url)
        return claims.principal(said, self._naming, prefix=prefix)


def kept_apart(issuer: str) -> str:
    """What an issuer's subjects are named behind: one host may have several issuers, told apart by their paths."""
    parts = urlsplit(issuer)
    return f"{parts.netloc}{parts.path.rstrip('/')}"


def _claimed_issuer(token: str) -> str:
    """Whose keys to try; nothing is believed of it before the signature is checked."""
    import base64
    import json

    part = token.split(".")[1] if len(token) <= TOKEN_LIMIT else ""
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise wrong("bad_token", "it is no signed token") from None
    return str(found.get("iss", "")) if isinstance(found, dict) else ""
