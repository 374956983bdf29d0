"""Logins of browsers, however they came about: an address that works once, or the identity provider.

Only hashes are stored, so who can read the store cannot log in by it; what the provider gave for a session is sealed
with the session's own id, which the browser alone has. What must happen once is a compare-and-set; a restart forgets
nothing, and every replica reads the same.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from console.persons import Persons
from pipeline.access import Principal
from pipeline.bus import Bus, Entry, Write
from pipeline.errors import Conflict, Refused

INVITATION_LIFETIME: Final = 900.0
ATTEMPT_LIFETIME: Final = 600.0
RENEWAL_LIMIT: Final = 20.0
FROM_STRANGERS: Final = frozenset({"attempt", "logout"})
"""What is written for somebody who is not logged in: kept apart from the sessions, and for an hour."""
_BYTES: Final = 32
_LONGEST: Final = 128
T = TypeVar("T", bound=msgspec.Struct)


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """A login that waits to be used; times are seconds since the epoch."""

    who: Principal
    expires_at: float
    origin: str = ""
    used: bool = False


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that was sent to the provider; ``kept`` is what the answer must fit to."""

    kept: bytes
    wanted: str
    expires_at: float
    used: bool = False


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A browser that is logged in as ``who``.

    Of the provider: ``subject`` and ``provider_session`` say whose logout ends it, ``sealed`` is what it gave, and
    from ``renew_at`` on the provider is asked again; one request alone asks, until ``renewing_until``. It ends with
    its ``origin``, the token that asked for its login address.
    """

    who: Principal
    expires_at: float
    ended: bool = False
    origin: str = ""
    subject: str = ""
    provider_session: str = ""
    sealed: bytes = b""
    renew_at: float = 0.0
    renewing_until: float = 0.0

    @property
    def actor(self) -> str:
        return self.who.name


class Sessions:
    """The logins in the event store. Every call raises Unavailable while that does not answer."""

    def __init__(self, bus: Bus, *, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self.persons = Persons(bus, clock=clock)
        self._bus = bus
        self._lifetime = lifetime
        self._clock = clock

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    async def invite(self, who: Principal, origin: str = "") -> str:
        """A new code that logs in as ``who``, once, for as long as the ``origin`` counts."""
        end = self._clock() + INVITATION_LIFETIME
        return await self._keep("once", Invitation(who=who, expires_at=end, origin=origin))

    async def accept(self, code: str) -> tuple[str, Session]:
        """A new session's id for a code. Raises Refused when the code is unknown, used or too old."""
        found = await self._use("once", code, Invitation)
        if found is None:
            raise _refused()
        return await self.begin(Session(who=found.who, expires_at=self.lasting(), origin=found.origin))

    async def attempt(self, kept: bytes, wanted: str) -> str:
        """The id of a login that begins at the provider."""
        return await self._keep(
            "attempt", Attempt(kept=kept, wanted=wanted, expires_at=self._clock() + ATTEMPT_LIFETIME)
        )

    async def attempted(self, wanted: str) -> Attempt | None:
        """That login, to whoever asks first and in time."""
        return await self._use("attempt", wanted, Attempt)

    async def begin(self, session: Session, new: str = "") -> tuple[str, Session]:
        """The id is always a new one: what a browser brought along before it logged in is worth nothing."""
        new = new or new_id()
        if session.subject:
            await self.persons.know(session.subject, session.who)
        # The index is first: a logout at the provider finds every session that there can be.
        for mark in _marks(session):
            await self._bus.append(f"web.of.{mark}.{hashed(new)}", b"{}")
        await self._bus.commit(Write(_subject("session", new), msgspec.json.encode(session), 0))
        return new, session

    def lasting(self) -> float:
        """When a session that begins now ends at the latest."""
        return self._clock() + self._lifetime

    async def find(self, wanted: str) -> Session | None:
        """The session of that id, while it lasts."""
        return (await self.entry(wanted))[0]

    async def entry(self, wanted: str) -> tuple[Session | None, int]:
        """The session of that id, while it lasts, and its sequence in the store."""
        entry = await self._bus.get(_subject("session", wanted)) if 0 < len(wanted) <= _LONGEST else None
        found = _decoded(entry, Session)
        lasts = found is not None and not found.ended and found.expires_at > self._clock()
        return (found if lasts else None), (entry.seq if entry else 0)

    async def replace(self, wanted: str, session: Session, after: int) -> bool:
        """Write a session anew; False when somebody else did meanwhile."""
        try:
            await self._bus.commit(Write(_subject("session", wanted), msgspec.json.encode(session), after))
        except Conflict:
            return False
        return True

    async def end(self, wanted: str) -> None:
        """Log out: the id means nothing from now on, at any replica."""
        await self._end(_subject("session", wanted))

    async def end_all_of(self, *, issuer: str, subject: str, provider_session: str) -> int:
        """End every session that the provider logged out; how many those were."""
        mark = _mark(issuer, f"sid {provider_session}" if provider_session else f"sub {subject}")
        found = [entry.subject.rpartition(".")[2] for entry in await self._bus.scan(f"web.of.{mark}.*")]
        for one in found:
            await self._end(f"web.session.{one}")
        return len(found)

    async def said(self, kind: str, what: str) -> bool:
        """Whether ``what`` was said before."""
        return await self._bus.get(_subject(kind, what)) is not None

    async def say(self, kind: str, what: str) -> None:
        """Remember that ``what`` was said."""
        await self._bus.commit(Write(_subject(kind, what), b"{}"))

    def left(self, session: Session) -> float:
        """Seconds until it expires."""
        return max(0.0, session.expires_at - self._clock())

    async def _end(self, subject: str) -> None:
        ended = Session(who=Principal(name=""), expires_at=0.0, ended=True)
        await self._bus.commit(Write(subject, msgspec.json.encode(ended)))

    async def _keep(self, kind: str, what: Invitation | Attempt) -> str:
        code = new_id()
        await self._bus.commit(Write(_subject(kind, code), msgspec.json.encode(what), 0))
        return code

    async def _use(self, kind: str, code: str, of: type[T]) -> T | None:
        """What was kept under a code, to whoever asks first and in time."""
        subject = _subject(kind, code)
        entry = await self._bus.get(subject) if 0 < len(code) <= _LONGEST else None
        found = _decoded(entry, of)
        if entry is None or found is None or found.used or found.expires_at <= self._clock():  # type: ignore[attr-defined]
            return None
        try:
            await self._bus.commit(
                Write(subject, msgspec.json.encode(msgspec.structs.replace(found, used=True)), entry.seq)
            )
        except Conflict:
            return None
        return found


def new_id() -> str:
    """What nobody can guess."""
    return secrets.token_urlsafe(_BYTES)


def form_token(session: str) -> str:
    """What a form of that session carries; nobody who cannot read the cookie can make it."""
    return hmac.new(session.encode(), b"enclii form", hashlib.sha256).hexdigest()


def issuer_subject(issuer: str, subject: str) -> str:
    """Who somebody is at a provider, as a session keeps it."""
    return f"{issuer} {subject}"


def _marks(session: Session) -> list[str]:
    """Under which a logout at the provider finds a session."""
    issuer, _, subject = session.subject.partition(" ")
    found = [_mark(issuer, f"sub {subject}")] if subject else []
    return found + ([_mark(issuer, f"sid {session.provider_session}")] if session.provider_session else [])


def _mark(issuer: str, what: str) -> str:
    return hashed(f"{issuer} {what}")


def _decoded(entry: Entry | None, of: type[T]) -> T | None:
    """What a version of ours wrote; what another one wrote is a login that has ended."""
    try:
        return msgspec.json.decode(entry.data, type=of) if entry else None
    except msgspec.MsgspecError:
        return None


def _subject(kind: str, secret: str) -> str:
    root = "login" if kind in FROM_STRANGERS else "web"
    return f"{root}.{kind}.{hashed(secret)}"


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _refused() -> Refused:
    return Refused("this login address was used, is too old or was never given out", reason="bad_login_code")
