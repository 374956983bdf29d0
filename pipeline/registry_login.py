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

Ask = Callable[[str, Mapping[str, str], bytes | None], Awaitable[bytes]]
"""A token service's address, asked with headers by GET, or by POST when there is a form; the body of its answer."""

CLIENT = "enclii"

_CHALLENGE = re.compile(r"\s*(Basic|Bearer)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
_FORM = "application/x-www-form-urlencoded"
_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Credentials:
    """A registry account; never printed. With ``identity`` the password is a token that is only changed for others."""

    username: str
    password: str = field(repr=False)
    identity: bool = False

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


Account = Callable[[], Awaitable[Credentials | None]]
"""Who we are to the registry, asked at each login: what a helper gives is short-lived."""


class Login:
    """The Authorization header for each access, learnt from the registry's challenges."""

    def __init__(self, account: Credentials | Account | None, *, plain_http: bool, ask: Ask) -> None:
        self._account = account
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
        account = await self._account() if callable(self._account) else self._account
        if match and scheme == "bearer":
            parameters = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(match[2] or "")}
            return "Bearer " + await self._token(parameters, access, account)
        if scheme == "basic" and account and account.basic != self._headers.get(access):
            return account.basic
        raise Refused("the registry does not accept this login", reason="registry_unauthorized")

    async def _token(self, parameters: Mapping[str, str], access: Access, account: Credentials | None) -> str:
        realm = urlsplit(parameters.get("realm", ""))
        if realm.scheme != "https" and not (self._plain_http and realm.scheme == "http"):
            raise Refused("the registry names a token service without TLS", reason="registry_unauthorized")
        scope = parameters.get("scope") or _scope(access)
        asked = {key: value for key, value in (("service", parameters.get("service")), ("scope", scope)) if value}
        if account and account.identity:
            form = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": account.password, **asked}
            return _token_of(await self._ask(realm.geturl(), {"Content-Type": _FORM}, urlencode(form).encode()))
        separator = "&" if realm.query else "?"
        headers = {"Authorization": account.basic} if account else {}
        return _token_of(await self._ask(f"{realm.geturl()}{separator}{urlencode(asked)}", headers, None))


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
