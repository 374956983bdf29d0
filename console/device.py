"""Logging a command line in from another machine's browser (as RFC 8628 does), brokered by Enclii.

The command line gets a code for itself and one for the person; the person, logged in with a browser, says yes to the
second; the command line asks with the first until it gets a token of that person's.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console.bodies import read_body
from console.tokens import Tokens
from console.web.guesses import Guesses, address_of, limit
from console.web.sessions import hashed
from pipeline.access import Principal
from pipeline.bus import Bus, Entry, Write
from pipeline.errors import Conflict, Invalid, Refused

LIFETIME: Final = 600.0
INTERVAL: Final = 2.0
LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels, so that no code is a word, and without what is read for something else."""
_LENGTH: Final = 8
_LONGEST: Final = 60
STARTS: Final = 20


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A command line that wants to log in; times are seconds since the epoch."""

    device: str  # hash of the code that it keeps
    client: str  # what it says of itself
    address: str
    expires_at: float
    state: Literal["pending", "approved", "denied", "done"] = "pending"
    who: Principal | None = None
    origin: str = ""
    asked_at: float = 0.0


class Devices:
    """The handlers of the API, and what the page asks."""

    def __init__(
        self, bus: Bus, tokens: Tokens, *, console_url: str, lifetime: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._bus = bus
        self._tokens = tokens
        self._url = console_url.rstrip("/")
        self._lifetime = lifetime
        self._clock = clock
        self._guesses = Guesses(most=STARTS)

    def routes(self) -> list[Route]:
        return [
            Route("/v1/device", self.begin, methods=["POST"]),
            Route("/v1/device/token", self.token, methods=["POST"]),
        ]

    async def begin(self, request: Request) -> Response:
        limit(self._guesses, request)
        address = address_of(request)
        self._guesses.wrong(address)
        client = (await read_body(request)).get("client", "")
        if not isinstance(client, str) or not client.isprintable() or len(client) > _LONGEST:
            raise Invalid("client: what asks, in at most 60 printable characters", reason="bad_field")
        code = "".join(secrets.choice(LETTERS) for _ in range(_LENGTH))
        device = f"{code}.{secrets.token_urlsafe(32)}"
        asked = Asked(device=hashed(device), client=client, address=address, expires_at=self._clock() + LIFETIME)
        await self._bus.commit(Write(_subject(code), msgspec.json.encode(asked), 0))
        shown = f"{code[:4]}-{code[4:]}"
        body = {
            "device_code": device, "user_code": shown, "verification_uri": f"{self._url}/device",
            "verification_uri_complete": f"{self._url}/device?code={shown}", "expires_in": int(LIFETIME),
            "interval": int(INTERVAL),
        }  # fmt: skip
        return JSONResponse(body, 201, headers={"Cache-Control": "no-store"})

    async def token(self, request: Request) -> Response:
        """The token, once; until then a problem whose ``reason_code`` is RFC 8628's error."""
        device = (await read_body(request)).get("device_code", "")
        code = device.partition(".")[0] if isinstance(device, str) and len(device) < 100 else ""
        asked, entry = await self._find(code)
        if asked is None or entry is None or not hmac.compare_digest(asked.device, hashed(device)):
            raise Invalid("this login was used, took too long or never began", reason="expired_token")
        if asked.state == "denied":
            raise Refused("the person said no", reason="access_denied")
        now = self._clock()
        if asked.state == "pending" and now - asked.asked_at < INTERVAL / 2:
            raise Invalid("ask less often", reason="slow_down")
        if asked.who is None or asked.state != "approved":
            await self._put(code, msgspec.structs.replace(asked, asked_at=now), entry)
            raise Invalid("nobody has said yes yet", reason="authorization_pending")
        # Used first and the token second: dying in between costs a login, the other way round would give two.
        if not await self._put(code, msgspec.structs.replace(asked, state="done"), entry):
            raise Invalid("this login was used", reason="expired_token")
        name = f"enclii login on {asked.client or 'a command line'}"
        text, made = await self._tokens.create(
            name=name, who=asked.who, by=asked.who.name, seconds=self._lifetime, origin=asked.origin
        )
        told: dict[str, Any] = {"token": text, "name": asked.who.name, "expires_at": made.expires_at, "id": made.id}
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    async def waiting(self, code: str) -> Asked | None:
        """Who waits under the code that a person typed."""
        asked, _ = await self._find(plain(code))
        return asked if asked is not None and asked.state == "pending" else None

    async def answer(self, code: str, *, who: Principal, origin: str, yes: bool) -> None:
        """The person's word; the login ends with its ``origin``. Raises Refused when nothing waits under that code."""
        asked, entry = await self._find(plain(code))
        state: Literal["approved", "denied"] = "approved" if yes else "denied"
        done = asked is not None and entry is not None and asked.state == "pending"
        if asked is None or entry is None or not done:
            raise Refused("no login waits under this code: it is used, too old or mistyped", reason="bad_login_code")
        if not await self._put(plain(code), msgspec.structs.replace(asked, state=state, who=who, origin=origin), entry):
            latest, entry = await self._find(plain(code))  # it asked at this very moment
            if latest is None or entry is None or latest.state != "pending":
                raise Refused("this login was answered already", reason="bad_login_code")
            await self._put(plain(code), msgspec.structs.replace(latest, state=state, who=who, origin=origin), entry)

    async def _find(self, code: str) -> tuple[Asked | None, Entry | None]:
        entry = await self._bus.get(_subject(code)) if len(code) == _LENGTH and set(code) <= set(LETTERS) else None
        found = msgspec.json.decode(entry.data, type=Asked) if entry else None
        lasts = found is not None and found.expires_at > self._clock() and found.state != "done"
        return (found if lasts else None), entry

    async def _put(self, code: str, asked: Asked, entry: Entry) -> bool:
        try:
            await self._bus.commit(Write(_subject(code), msgspec.json.encode(asked), entry.seq))
        except Conflict:
            return False
        return True


def plain(code: str) -> str:
    """A code as it was typed, without what people put into it."""
    return "".join(one for one in code.upper() if one.isalnum())[:20]


def _subject(code: str) -> str:
    return f"login.device.{hashed(code)}"
