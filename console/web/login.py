"""Logging in by an address that works once, and logging out."""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from console.authority import principal_of
from console.bodies import read_body
from console.web.guard import Cookie
from console.web.rendering import render
from console.web.security import SESSION, Guesses, local_path, read_form
from console.web.sessions import INVITATION_LIFETIME, Sessions
from pipeline.errors import Invalid, Refused

WANTED: Final = "enclii-next"
WANTED_SECONDS: Final = 900


class Login:
    """The handlers; ``invite`` belongs to the API, the others to the pages."""

    def __init__(self, sessions: Sessions, *, console_url: str, guesses: Guesses | None = None) -> None:
        self._sessions = sessions
        self._url = console_url.rstrip("/")
        self._cookie = Cookie.of(console_url)
        self._guesses = guesses or Guesses()

    def routes(self) -> list[Route]:
        return [
            Route("/login", self.login, methods=["GET"]),
            Route("/logout", self.logout, methods=["POST"]),
        ]

    def api_routes(self) -> list[Route]:
        return [Route("/v1/logins", self.invite, methods=["POST"])]

    async def invite(self, request: Request) -> Response:
        """A login address for whoever holds the token; with ``next`` it leads to that page."""
        wanted = (await read_body(request)).get("next", "/")
        if not isinstance(wanted, str) or local_path(wanted) != wanted:
            raise Invalid("next: the path of a page, such as /runs/r-1", reason="bad_field")
        query = {"once": await self._sessions.invite(principal_of(request))} | (
            {"next": wanted} if wanted != "/" else {}
        )
        body = {"address": f"{self._url}/login?{urlencode(query)}", "expires_in": int(INVITATION_LIFETIME)}
        return JSONResponse(body, 201, headers={"Cache-Control": "no-store"})

    async def login(self, request: Request) -> Response:
        code = request.query_params.get("once", "")
        # Programs that only look an address up ask by HEAD; that must not use it up.
        if not code or request.method == "HEAD":
            return self._page(request)
        address = request.client.host if request.client else ""
        if wait := self._guesses.wait(address):
            headers = {"Retry-After": str(math.ceil(wait))}
            raise HTTPException(429, "too many wrong login addresses: wait a minute", headers)
        try:
            session, found = await self._sessions.accept(code)
        except Refused:
            self._guesses.wrong(address)
            raise
        wanted = request.query_params.get("next", "") or request.cookies.get(WANTED, "")
        answer = RedirectResponse(local_path(wanted), 303, {"Referrer-Policy": "no-referrer"})
        self._cookie.put(answer, session, self._sessions.left(found))
        answer.delete_cookie(WANTED, path="/login")
        return answer

    def _page(self, request: Request) -> Response:
        """What to do; where the person wanted to go is remembered until the address is opened."""
        wanted = local_path(request.query_params.get("next", "/"))
        answer = render(request, "login.html", wanted=wanted)
        if wanted != "/":
            answer.set_cookie(
                WANTED, wanted, max_age=WANTED_SECONDS, path="/login", secure=self._cookie.secure, httponly=True,
                samesite="lax",
            )  # fmt: skip
        return answer

    async def logout(self, request: Request) -> Response:
        await read_form(request)
        await self._sessions.end(request.scope[SESSION])
        answer = RedirectResponse("/login", 303)
        self._cookie.remove(answer)
        return answer
