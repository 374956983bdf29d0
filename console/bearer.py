"""Who a request is from: the installation's own token, or the token of a person, each compared in constant time.

A person's token is a file in one folder, named after the person; it counts from the moment in which the file is there
until it is gone. Whoever may write into that folder is the machine's owner, so its people are deployers everywhere.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from console import problems, sight
from console.authority import PRINCIPAL, Authority
from console.origins import ORIGIN, of_file, of_own, of_token, tokens_in
from console.revocable import AGAIN
from pipeline.access import Grant, Principal
from pipeline.errors import EncliiError, Refused

ACTOR: Final = "enclii.actor"
OWNER: Final = (Grant(role="admin"),)
PEOPLE: Final = (Grant(role="deployer"),)
OPEN: Final = frozenset({"/v1/device", "/v1/device/token"})
RUNS: Final = "/runs/"
"""What answers without a token: what a push's ``remote:`` lines point to, which says nothing of what is here, and how
one gets a token.
"""
Known = Callable[[str], Awaitable[Principal | None]]
"""Whose token a text is; None when it is of another kind. Raises Refused when it is of this kind and not good."""


class Bearer:
    """Lets a request pass whose token is somebody's, and says whose; ``others`` know further kinds of tokens."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        actor: str,
        authority: Authority,
        people: Path | None = None,
        others: Sequence[Known] = (),
    ) -> None:
        self._app = app
        self._own = (Principal(name=actor, grants=OWNER), of_own(token), b"Bearer " + token.encode())
        self._authority = authority
        self._people = people
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for key, value in scope["headers"] if key == b"authorization"]
        try:
            found = await self._principal(given[0]) if len(given) == 1 else None
        except Refused as error:
            await _unknown(error.message, error.reason)(scope, receive, send)
            return
        except EncliiError as error:
            answer = problems.problem(503, error.message, reason=error.reason, headers={"Retry-After": "1"})
            await answer(scope, receive, send)
            return
        if found is not None:
            who, origin = found
            again = functools.partial(self._again, given[0])
            with sight.limited(self._authority.sight(who)):
                await self._app({**scope, ACTOR: who.name, PRINCIPAL: who, ORIGIN: origin, AGAIN: again}, receive, send)
        elif scope["path"] in OPEN or scope["path"].startswith(RUNS):
            with sight.limited(sight.NOTHING):
                await self._app(scope, receive, send)
        else:
            await _unknown("a valid bearer token is needed", "wrong_token" if given else "no_token")(
                scope, receive, send
            )

    async def _again(self, given: bytes) -> Principal | None:
        found = await self._principal(given)
        return found[0] if found else None

    async def _principal(self, given: bytes) -> tuple[Principal, str] | None:
        """Who that is, and the origin of what they begin with it."""
        who, origin, own = self._own
        if hmac.compare_digest(given, own):
            return who, origin
        # Every token is compared, so that the time says nothing of where one is.
        found = [one for one in tokens_in(self._people) if hmac.compare_digest(given, b"Bearer " + one[1])]
        if found:
            return Principal(name=found[0][0], grants=PEOPLE), of_file(*found[0])
        kind, _, text = given.decode("latin-1").partition(" ")
        for known in self._others if kind.lower() == "bearer" else ():
            if (principal := await known(text.strip())) is not None:
                return principal, of_token(text.strip())
        return None


def _unknown(what: str, reason: str) -> Response:
    return problems.problem(401, what, reason=reason, headers={"WWW-Authenticate": "Bearer"})


def actor_of(request: Request) -> str:
    """Who sent the request."""
    return str(request.scope[ACTOR])
