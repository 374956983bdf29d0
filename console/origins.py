"""Where a login or a token came from, so that it ends when that does and may no more than that may.

An origin is a text: ``own:…`` the installation's token, ``people:…`` a file in the folder of people's tokens,
``token:…`` a token that Enclii gave out, ``person:…`` somebody who logged in at the identity provider. "" is none: what
came of nothing but itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from starlette.requests import Request

from console.persons import Persons
from pipeline.access import Principal
from pipeline.principals import Token
from pipeline.store import Store
from pipeline.token_text import lasts, number_in

ORIGIN: Final = "enclii.origin"
SHORTEST: Final = 16
DEEPEST: Final = 8


class Origins:
    """Answers from what is there now. Every call raises Unavailable while the event store does not answer."""

    def __init__(self, store: Store, *, own: str = "", people: Path | None = None) -> None:
        self.persons = Persons(store.bus)
        self._store = store
        self._own = own
        self._people = people

    async def current(self, origin: str, who: Principal, *, depth: int = 0) -> Principal | None:
        """``who`` as they are now; None when what they came from counts no longer."""
        kind, _, name = origin.partition(":")
        if kind == "token":
            return await self._token(name, who, depth)
        if kind == "person":
            return await self.persons.current(origin)
        return who if not origin or self._is_here(kind, origin) else None

    async def _token(self, number: str, who: Principal, depth: int) -> Principal | None:
        found = await self._store.get(Token, number) if depth < DEEPEST else None
        if found is None or not lasts(found.record):
            return None
        return await self.current(found.record.origin, who, depth=depth + 1)

    def _is_here(self, kind: str, origin: str) -> bool:
        if kind == "own":
            return origin == of_own(self._own)
        return kind == "people" and origin in {of_file(name, token) for name, token in tokens_in(self._people)}


def of_own(token: str) -> str:
    """The origin that the installation's own token is."""
    return f"own:{_hashed(token.encode())}"


def of_file(name: str, token: bytes) -> str:
    """The origin that a person's file is, while it has this token."""
    return f"people:{name}:{_hashed(token)}"


def of_token(text: str) -> str:
    """The origin that a token of ours is, by its text."""
    number = number_in(text)
    return f"token:{number}" if number else ""


def origin_of(request: Request) -> str:
    """What the request's credential is, or came of."""
    return str(request.scope.get(ORIGIN, ""))


def tokens_in(folder: Path | None) -> Iterator[tuple[str, bytes]]:
    """The names and tokens of people whose files are there now."""
    if folder is None or not folder.is_dir():
        return
    for file in sorted(folder.iterdir()):
        try:
            token = file.read_bytes().strip() if file.is_file() and not file.name.startswith(".") else b""
        except OSError:
            continue
        if len(token) >= SHORTEST:
            yield file.name, token


def _hashed(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()[:16]
