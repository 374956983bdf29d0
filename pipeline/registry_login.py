"""How a client proves itself to a registry: nothing, Basic, or the Bearer token flow that a 401 asks for.

A token is kept per repository and kind of access and asked for again when the registry stops taking it; a password
goes to the registry itself and to the token service that the registry names, over TLS unless plain HTTP was allowed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from pipeline.errors import Refused, Unavailable

Access = tuple[str, str]
"""(repository, "pull" | "push" | "delete"): what a token is good for."""

Ask = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""GET a token service's address with headers; the body of its answer."""

_CHALLENGE = re.compile(r"\s*(Basic|Bearer)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Credentials:
    """A registry account; never printed."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Login:
    """The Authorization header for each access, learnt from the registry's challenges."""

    def __init__(self, credentials: Credentials | None, *, plain_http: bool, ask: Ask) -> None:
        self._credentials = credentials
        self._plain_http = plain_http
        self._ask = ask
        self._headers: dict[Access, str] = {}
        self._learning = asyncio.Lock()

    def header(self, access: Access) -> dict[str, str]:
        value = self._headers.get(access)
        return {"Authorization": value} if value else {}

    async def learn(self, challenge: str, access: Access, *, used: Mapping[str, str]) -> None:
        """Answer a 401. Raises Refused when there is nothing to answer with, Unavailable when nobody answers."""
        async with self._learning:
            if self.header(access) != used:
                return  # somebody else has just asked for the same
            self._headers[access] = await self._answer(challenge, access)

    async def _answer(self, challenge: str, access: Access) -> str:
        match = _CHALLENGE.match(challenge)
        scheme = match[1].lower() if match else ""
        if match and scheme == "bearer":
            parameters = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(match[2] or "")}
            return "Bearer " + await self._token(parameters, access)
        if scheme == "basic" and self._credentials and access not in self._headers:
            return self._credentials.basic
        raise Refused("the registry does not accept this login", reason="registry_unauthorized")

    async def _token(self, parameters: Mapping[str, str], access: Access) -> str:
        realm = urlsplit(parameters.get("realm", ""))
        if realm.scheme != "https" and not (self._plain_http and realm.scheme == "http"):
            raise Refused("the registry names a token service without TLS", reason="registry_unauthorized")
        scope = parameters.get("scope") or _scope(access)
        query = urlencode(
            {key: value for key, value in (("service", parameters.get("service")), ("scope", scope)) if value}
        )
        separator = "&" if realm.query else "?"
        headers = {"Authorization": self._credentials.basic} if self._credentials else {}
        return _token_of(await self._ask(f"{realm.geturl()}{separator}{query}", headers))


def _scope(access: Access) -> str:
    repository, action = access
    return f"repository:{repository}:{'pull,push' if action == 'push' else action}"


def _token_of(body: bytes) -> str:
    try:
        document = json.loads(body)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise Unavailable("the registry's token service answered without a token", reason="registry_lied")
    return token
