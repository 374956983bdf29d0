"""A session is asked about at the provider from time to time: by one request of one replica, while all others go on.

What the provider gave is sealed with the session's id, so that the store alone opens nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec.structs import replace

from console.identity.provider import Identity, Provider
from console.web.sessions import RENEWAL_LIMIT, Session, Sessions, issuer_subject
from pipeline.errors import Refused, Unavailable

log = logging.getLogger(__name__)
LATER: Final = 30.0
SOONEST: Final = 5.0
_NONCE: Final = 12


class Renewal:
    """Sessions of people who logged in at the provider."""

    def __init__(self, sessions: Sessions, provider: Provider) -> None:
        self._sessions = sessions
        self._provider = provider

    def session(self, new: str, found: Identity, *, until: float) -> Session:
        """What is kept of a login, under the session's id ``new``."""
        return Session(
            who=found.who,
            expires_at=until,
            subject=issuer_subject(self._provider.issuer.url, found.subject),
            provider_session=found.session,
            sealed=seal(new, {"refresh": found.refresh_token, "id_token": found.id_token}),
            renew_at=self._sessions.now() + max(found.lasts, SOONEST) if found.refresh_token else 0.0,
        )

    async def current(self, given: str, session: Session, seq: int) -> Session | None:
        """The session as it is to be taken now; None when the provider ended it.

        While the provider is away, or another request asks it at this moment, the session goes on as it is.
        """
        now = self._sessions.now()
        if not session.renew_at or session.renew_at > now or session.renewing_until > now:
            return session
        if not await self._sessions.replace(given, replace(session, renewing_until=now + RENEWAL_LIMIT), seq):
            return session
        try:
            renewed = await self._asked(given, session)
        except Unavailable as error:
            log.warning("a session goes on without the identity provider's word: %s", error)
            renewed = replace(session, renew_at=now + LATER)
        except Refused as error:
            log.info("a session ends: %s", error)
            await self._sessions.end(given)
            return None
        latest, after = await self._sessions.entry(given)
        if latest is None:  # logged out meanwhile
            return None
        await self._sessions.replace(given, renewed, after)
        await self._sessions.persons.know(session.subject, renewed.who)
        return renewed

    async def _asked(self, given: str, session: Session) -> Session:
        kept = opened(given, session.sealed)
        subject = session.subject.partition(" ")[2]
        found = await self._provider.renew(
            kept.get("refresh", ""),
            subject=subject,
            id_token=kept.get("id_token", ""),
            session=session.provider_session,
        )
        return self.session(given, found, until=session.expires_at)


def seal(session: str, what: dict[str, str]) -> bytes:
    """``what``, readable only with the session's id."""
    nonce = os.urandom(_NONCE)
    return nonce + ChaCha20Poly1305(_key(session)).encrypt(nonce, json.dumps(what).encode(), None)


def opened(session: str, sealed: bytes) -> dict[str, str]:
    """What was sealed; nothing when it was not for this session."""
    try:
        plain = ChaCha20Poly1305(_key(session)).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
    except (InvalidTag, ValueError):
        return {}
    return {str(name): str(value) for name, value in json.loads(plain).items()}


def _key(session: str) -> bytes:
    return hashlib.sha256(b"enclii session " + session.encode()).digest()
