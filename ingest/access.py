"""Who may do what on the git host: a token is a role, and the login name beside it only says who is there.

Every token is compared in constant time with every known one, so a refusal takes as long as a welcome.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from typing import Literal

from ingest.gitrepos import RepositoryName

Role = Literal["deploy", "read", "config", "machine"]
HEADER_LIMIT = 2048
NOBODY = "deployer"
_NO_NAMES = {"x", "git", "token", "oauth2", "x-access-token", "x-token-auth", "x-oauth-basic"}
_ACTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True)
class Tokens:
    """The live tokens; an empty one opens nothing."""

    deploy: str = field(repr=False)
    read: str = field(default="", repr=False)
    config: str = field(default="", repr=False)

    def role(self, secret: str) -> Role | None:
        """The role that this token stands for."""
        given = secret.encode("utf-8", "replace")
        known: tuple[tuple[Role, str], ...] = (("deploy", self.deploy), ("read", self.read), ("config", self.config))
        matches = [role for role, token in known if hmac.compare_digest(given, token.encode()) and token]
        return matches[0] if matches else None


@dataclass(frozen=True)
class Caller:
    """Somebody with a valid token; ``reads`` and ``writes`` are a machine's, of the repository that it asked for."""

    role: Role
    actor: str
    reads: bool = False
    writes: bool = False

    def may_read(self, repository: RepositoryName) -> bool:
        if self.role == "machine":
            return self.reads
        return repository.is_config or self.role != "config"

    def may_write(self, repository: RepositoryName) -> bool:
        return self.writes or self.role == "deploy" or (self.role == "config" and repository.is_config)


def caller(authorization: str, tokens: Tokens) -> Caller | None:
    """Who sends this ``Authorization`` header (Basic or Bearer); None when no token in it is known."""
    user, secret = credentials(authorization)
    role = tokens.role(secret)
    if role is None:
        return None
    return Caller(role, "enclii" if role == "config" else _actor(user, tokens))


def credentials(authorization: str) -> tuple[str, str]:
    """The user and the token of the header; empty where it names none."""
    scheme, _, value = authorization[:HEADER_LIMIT].partition(" ")
    if scheme.lower() == "bearer":
        return "", value.strip()
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    # http://TOKEN@host and http://TOKEN:x-oauth-basic@host are how some tools pass a token.
    return ("", user) if secret in {"", "x-oauth-basic"} else (user, secret)


def _actor(user: str, tokens: Tokens) -> str:
    # A token that somebody typed as the login name must not become an author.
    if user.lower() in _NO_NAMES or not _ACTOR.fullmatch(user) or tokens.role(user) is not None:
        return NOBODY
    return user
