"""Tokens that Enclii gives out: random texts of which it keeps the hash, with a scope, an end, and a last use.

Each use reads the token's record from the event store itself, so a revocation counts at every replica at once.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
from typing import Final

from msgspec.structs import replace

from console import sight, texts
from console.origins import Origins
from console.projection import Projection
from pipeline.errors import Conflict, Denied, EncliiError, Invalid, NotFound
from pipeline.principals import Principal, Token
from pipeline.store import Change, Step, Store, now
from pipeline.token_text import digest, new_text, number_in, opens

LONGEST: Final = 366 * 86_400.0
USED_EVERY: Final = 60.0
_NAME: Final = 100


class Tokens:
    """The tokens in the event store. Every call raises Unavailable while that does not answer."""

    def __init__(self, store: Store, db: Projection, origins: Origins) -> None:
        self._store = store
        self._db = db
        self._origins = origins

    async def create(
        self, *, name: str, who: Principal, by: str, seconds: float, origin: str = ""
    ) -> tuple[str, Token]:
        """A new token's text, which is shown once, and its record; it ends with its ``origin``. Raises Invalid."""
        if not name.strip() or not name.isprintable() or len(name) > _NAME:
            raise Invalid(f"name: what the token is for, in at most {_NAME} printable characters", reason="bad_field")
        if not 60 <= seconds <= LONGEST:
            raise Invalid("expires_in: from 60 seconds to 366 days", reason="bad_field")
        number = secrets.token_hex(6)
        text = new_text(number)
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        token = Token(
            id=number, name=name, digest=digest(text), who=who, by=by, origin=origin, created_at=now(),
            expires_at=end.isoformat(timespec="seconds").replace("+00:00", "Z"),
        )  # fmt: skip
        await self._store.commit(Step((Change(token, 0),)))
        return text, token

    def listed(self) -> list[Token]:
        """Every token, the newest first, whoever looks."""
        with sight.limited(None):
            return self._db.find(Token, newest_first=True)

    async def get(self, number: str) -> Token:
        """One token. Raises NotFound."""
        found = await self._store.get(Token, number)
        if found is None:
            raise NotFound(f"no token {number[:40]!r}", reason="no_such_token")
        return found.record

    async def revoke(self, number: str, *, by: str) -> Token:
        """End a token now. Raises NotFound, Conflict."""
        found = await self._store.get(Token, number)
        if found is None:
            raise NotFound(f"no token {number[:40]!r}", reason="no_such_token")
        if found.record.revoked_at:
            return found.record
        ended = replace(found.record, revoked_at=now(), revoked_by=by)
        await self._store.commit(Step((Change(ended, found.seq),)))
        return ended

    async def principal(self, text: str) -> Principal | None:
        """Whose token that is, while it lasts; None for every other text."""
        number = number_in(text)
        found = await self._store.get(Token, number) if number else None
        if found is None or not opens(found.record, text):
            return None
        who = await self._origins.current(found.record.origin, found.record.who)
        if who is not None:
            await self._used(found.record, found.seq)
        return who

    async def _used(self, token: Token, seq: int) -> None:
        ago = texts.seconds_between(token.used_at, datetime.datetime.now(datetime.UTC)) if token.used_at else None
        if ago is None or ago >= USED_EVERY:
            # Somebody else wrote it, or nobody can now: a use that is not noted is no reason to refuse it.
            with contextlib.suppress(Conflict, EncliiError):
                await self._store.commit(Step((Change(replace(token, used_at=now()), seq),)))


def owned(token: Token, *, by: str) -> bool:
    """Whether somebody made it."""
    return token.by == by


def not_yours() -> Denied:
    """Somebody else's token, out of reach."""
    return Denied("it is another's token: ask who made it, or an admin where it counts", reason="role_missing")
