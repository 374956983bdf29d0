"""Logins of browsers: an invitation that works once becomes a session, kept where every replica finds it.

Only hashes are stored, so who can read the store cannot log in by it. What must happen once, using an invitation, is
a compare-and-set; a restart forgets nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.bus import Bus, Write
from pipeline.errors import Conflict, Refused

INVITATION_LIFETIME: Final = 900.0
_BYTES: Final = 32
_LONGEST: Final = 128


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """A login that waits to be used; times are seconds since the epoch."""

    actor: str
    expires_at: float
    used: bool = False


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that is logged in as ``actor``."""

    actor: str
    expires_at: float
    ended: bool = False


class Sessions:
    """The logins in the event store. Every call raises Unavailable while that does not answer."""

    def __init__(self, bus: Bus, *, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._lifetime = lifetime
        self._clock = clock

    async def invite(self, actor: str) -> str:
        """A new code that logs in as ``actor``, once."""
        code = secrets.token_urlsafe(_BYTES)
        invitation = Invitation(actor=actor, expires_at=self._clock() + INVITATION_LIFETIME)
        await self._bus.commit(Write(_subject("once", code), msgspec.json.encode(invitation), 0))
        return code

    async def accept(self, code: str) -> tuple[str, Session]:
        """A new session's id for a code. Raises Refused when the code is unknown, used or too old."""
        subject = _subject("once", code)
        entry = await self._bus.get(subject) if len(code) <= _LONGEST else None
        found = msgspec.json.decode(entry.data, type=Invitation) if entry else None
        if entry is None or found is None or found.used or found.expires_at <= self._clock():
            raise _refused()
        try:
            used = msgspec.structs.replace(found, used=True)
            await self._bus.commit(Write(subject, msgspec.json.encode(used), entry.seq))
        except Conflict:
            raise _refused() from None
        return await self._begin(found.actor)

    async def _begin(self, actor: str) -> tuple[str, Session]:
        """The id is always a new one: what a browser brought along before it logged in is worth nothing."""
        new = secrets.token_urlsafe(_BYTES)
        session = Session(actor=actor, expires_at=self._clock() + self._lifetime)
        await self._bus.commit(Write(_subject("session", new), msgspec.json.encode(session), 0))
        return new, session

    async def find(self, wanted: str) -> Session | None:
        """The session of that id, while it lasts."""
        entry = await self._bus.get(_subject("session", wanted)) if 0 < len(wanted) <= _LONGEST else None
        found = msgspec.json.decode(entry.data, type=Session) if entry else None
        return found if found and not found.ended and found.expires_at > self._clock() else None

    async def end(self, wanted: str) -> None:
        """Log out: the id means nothing from now on, at any replica."""
        ended = Session(actor="", expires_at=0.0, ended=True)
        await self._bus.commit(Write(_subject("session", wanted), msgspec.json.encode(ended)))

    def left(self, session: Session) -> float:
        """Seconds until it expires."""
        return max(0.0, session.expires_at - self._clock())


def form_token(session: str) -> str:
    """What a form of that session carries; nobody who cannot read the cookie can make it."""
    return hmac.new(session.encode(), b"enclii form", hashlib.sha256).hexdigest()


def _subject(kind: str, secret: str) -> str:
    return f"web.{kind}.{hashlib.sha256(secret.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _refused() -> Refused:
    return Refused("this login address was used, is too old or was never given out", reason="bad_login_code")
