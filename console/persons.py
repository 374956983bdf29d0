"""People as the identity provider described them last: what a command line's login may is what its person may now.

Kept for a month after the provider was last asked; who did not show up there for so long logs in again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import msgspec

from pipeline.access import Principal
from pipeline.bus import Bus, Write
from pipeline.errors import Conflict

_TRIES = 5


class Person(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who somebody is; what they began before ``ended_at`` (seconds since the epoch) has ended."""

    who: Principal
    ended_at: float = 0.0


class Persons:
    """The people in the event store, by issuer and subject. Every call raises Unavailable while it does not answer."""

    def __init__(self, bus: Bus, *, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._clock = clock

    def origin(self, subject: str) -> str:
        """What a login of that person's, beginning now, comes from."""
        return f"person:{_hashed(subject)}:{self._clock()}"

    async def know(self, subject: str, who: Principal) -> None:
        """Remember how the provider describes somebody now."""
        await self._change(subject, lambda old: Person(who=who, ended_at=old.ended_at if old else 0.0))

    async def end(self, subject: str) -> None:
        """What somebody began up to now has ended."""
        await self._change(subject, lambda old: old and msgspec.structs.replace(old, ended_at=self._clock()))

    async def current(self, origin: str) -> Principal | None:
        """Who that is now; None when the login has ended, or the provider was not asked for a month."""
        _, hashed, begun = origin.split(":")
        found, _ = await self._find(hashed)
        return found.who if found is not None and float(begun) > found.ended_at else None

    async def _change(self, subject: str, change: Callable[[Person | None], Person | None]) -> None:
        for _ in range(_TRIES):
            found, seq = await self._find(_hashed(subject))
            if (new := change(found)) is None:
                return
            try:
                await self._bus.commit(Write(_place(_hashed(subject)), msgspec.json.encode(new), seq))
            except Conflict:
                continue
            return
        raise Conflict("this person's logins change too often at this moment", reason="changed_meanwhile")

    async def _find(self, hashed: str) -> tuple[Person | None, int]:
        entry = await self._bus.get(_place(hashed))
        return (msgspec.json.decode(entry.data, type=Person), entry.seq) if entry else (None, 0)


def _place(hashed: str) -> str:
    return f"web.person.{hashed}"


def _hashed(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()
