"""The identity provider that people log in at: the authorization code flow with PKCE, renewal, and logout."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from httpx2 import HTTPError

from console.identity import claims
from console.identity.claims import Naming, wrong
from console.identity.issuer import ANSWER_LIMIT, Issuer, away, fetched
from pipeline.access import Principal
from pipeline.errors import Refused, Unavailable

logging.getLogger("authlib").setLevel(logging.WARNING)  # at DEBUG it logs the code verifier
DEFAULT_LASTS: Final = 300.0


class ProviderRefused(Refused):
    """The provider said no; ``error`` is its word for why (RFC 6749, 5.2)."""

    def __init__(self, error: str) -> None:
        super().__init__(f"the identity provider said no: {error}", reason="provider_refused")
        self.error = error


@dataclass(frozen=True)
class Identity:
    """Somebody as the provider knows them, with what it gave us to ask again."""

    who: Principal
    subject: str
    session: str
    id_token: str
    refresh_token: str
    lasts: float
    """Seconds until the provider wants to be asked again."""


class Provider:
    """One client at one provider. Calls raise Unavailable while it does not answer, Refused when it says no."""

    def __init__(
        self,
        issuer: Issuer,
        *,
        client_id: str,
        client_secret: str,
        scopes: str,
        naming: Naming,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self._secret = client_secret
        self._scopes = scopes
        self._naming = naming
        self._clock = clock

    @property
    def name(self) -> str:
        """What people know it by."""
        return urlsplit(self.issuer.url).netloc

    async def begin(self, redirect_uri: str) -> tuple[str, bytes]:
        """The address to send the browser to, and what its answer must fit to."""
        client = await self._client()
        made = await client.create_authorization_url(redirect_uri)
        kept = {name: made[name] for name in ("state", "nonce", "code_verifier")} | {"redirect_uri": redirect_uri}
        return str(made["url"]), json.dumps(kept).encode()

    async def finish(self, kept: bytes, answer: Mapping[str, str]) -> Identity:
        """Who came back."""
        asked = json.loads(kept)
        if not answer.get("state") or answer["state"] != asked["state"]:
            raise wrong("wrong_state", "the answer is to another login")
        if "iss" in answer and answer["iss"] != self.issuer.url:  # RFC 9207
            raise wrong("wrong_issuer", "the answer is another provider's")
        if "error" in answer:
            raise ProviderRefused(answer["error"][:100])
        told = await self._token(
            redirect_uri=asked["redirect_uri"], code=answer.get("code", ""), code_verifier=asked["code_verifier"],
            grant_type="authorization_code",
        )  # fmt: skip
        if not told.get("id_token"):
            raise wrong("bad_token", "the provider gave no ID token")
        said = await self.issuer.verified(str(told["id_token"]))
        claims.check_id_token(
            said, issuer=self.issuer.url, client=self.client_id, nonce=asked["nonce"], now=self._clock()
        )
        return await self._identity(said, told, old_refresh="", old_id_token="")

    async def renew(self, refresh_token: str, *, subject: str, id_token: str, session: str) -> Identity:
        """The same person as the provider sees them now. Raises Refused when it does not know them any more."""
        try:
            told = await self._token(grant_type="refresh_token", refresh_token=refresh_token)
        except ProviderRefused as error:
            if error.error == "invalid_grant":  # the one answer that speaks of this login (RFC 6749, 5.2)
                raise
            raise away(self.issuer.url, error.error) from error
        said: dict[str, Any] = {"sub": subject, "sid": session}
        if told.get("id_token"):
            said = await self.issuer.verified(str(told["id_token"]))
            claims.check_id_token(said, issuer=self.issuer.url, client=self.client_id, nonce=None, now=self._clock())
            if said["sub"] != subject:
                raise wrong("wrong_subject", "the provider answered for somebody else")
        return await self._identity(said, told, old_refresh=refresh_token, old_id_token=id_token)

    async def logged_out(self, logout_token: str) -> tuple[str, str, str]:
        """Of a logout that the provider tells: subject, its session (one may be empty), and the token's id."""
        said = await self.issuer.verified(logout_token)
        claims.check_logout(said, issuer=self.issuer.url, client=self.client_id, now=self._clock())
        return str(said.get("sub") or ""), str(said.get("sid") or ""), str(said["jti"])

    async def logout_address(self, id_token: str, back: str) -> str:
        """Where the provider ends its own session; "" when it has no such place or does not answer."""
        try:
            place = str((await self.issuer.metadata()).get("end_session_endpoint") or "")
        except Unavailable:
            return ""
        query = {"client_id": self.client_id, "post_logout_redirect_uri": back}
        query |= {"id_token_hint": id_token} if id_token else {}
        return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}" if place.startswith("http") else ""

    async def _identity(
        self, said: Mapping[str, Any], told: Mapping[str, Any], *, old_refresh: str, old_id_token: str
    ) -> Identity:
        subject = claims.subject(said)
        described = dict(said)
        metadata = await self.issuer.metadata()
        missing = self._naming.name not in said or self._naming.groups not in said
        if missing and metadata.get("userinfo_endpoint") and told.get("access_token"):
            more = await fetched(str(metadata["userinfo_endpoint"]), str(told["access_token"]))
            if more.get("sub") != subject:
                raise wrong("wrong_subject", "the provider described somebody else")
            described = more | described
        lasts = told.get("expires_in")
        return Identity(
            who=claims.principal(described, self._naming),
            subject=subject,
            session=str(said.get("sid") or ""),
            id_token=str(told.get("id_token") or old_id_token),
            refresh_token=str(told.get("refresh_token") or old_refresh),
            lasts=float(lasts) if isinstance(lasts, int | float) and lasts > 0 else DEFAULT_LASTS,
        )

    async def _token(self, **asked: str) -> dict[str, Any]:
        client = await self._client()
        try:
            found = await client.fetch_access_token(**asked)
        except AuthlibBaseError as error:
            raise ProviderRefused(str(error.error)[:100]) from None
        except (HTTPError, ValueError) as error:
            raise away(self.issuer.url, type(error).__name__) from error
        return dict(found)

    async def _client(self) -> Any:
        """Authlib's client with what the provider says of itself now."""
        found = await self.issuer.metadata()
        for name in ("authorization_endpoint", "token_endpoint"):
            if not str(found.get(name, "")).startswith(("https://", "http://")):
                raise away(self.issuer.url, f"it names no {name}")
        ways = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        way = next((one for one in ("client_secret_basic", "client_secret_post") if one in ways), "client_secret_basic")
        return OAuth().register(
            "enclii",
            client_id=self.client_id,
            client_secret=self._secret or None,
            authorize_url=found["authorization_endpoint"],
            access_token_url=found["token_endpoint"],
            client_kwargs={
                "scope": self._scopes,
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": way if self._secret else "none",
                "timeout": ANSWER_LIMIT,
            },
        )
