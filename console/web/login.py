"""Logging in by an address that works once, logging out, and the page that says how to log in."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from console.audit import Audit
from console.auditing import of_login
from console.authority import principal_of
from console.bodies import read_body
from console.origins import origin_of
from console.web.guard import Cookie
from console.web.guesses import Guesses, address_of, limit
from console.web.provider_login import ProviderLogin
from console.web.rendering import render
from console.web.security import SESSION, local_path, read_form
from console.web.sessions import INVITATION_LIFETIME, Sessions
from pipeline.errors import Denied, Invalid, Refused

WANTED: Final = "enclii-next"
WANTED_SECONDS: Final = 900


class Login:
    """The handlers; ``invite`` belongs to the API, the others to the pages."""

    def __init__(
        self, sessions: Sessions, *, console_url: str, provider: ProviderLogin | None = None, audit: Audit | None = None
    ) -> None:
        self.provider = provider
        self._audit = audit
        self._sessions = sessions
        self._url = console_url.rstrip("/")
        self._cookie = Cookie.of(console_url)
        self._guesses = Guesses()

    def routes(self) -> list[Route]:
        return [
            Route("/login", self.login, methods=["GET"]),
            Route("/logout", self.logout, methods=["POST"]),
            *(self.provider.routes() if self.provider else []),
        ]

    def api_routes(self) -> list[Route]:
        return [Route("/v1/logins", self.invite, methods=["POST"])]

    async def invite(self, request: Request) -> Response:
        """A login address for whoever holds the token; with ``next`` it leads to that page."""
        wanted = (await read_body(request)).get("next", "/")
        if not isinstance(wanted, str) or local_path(wanted) != wanted:
            raise Invalid("next: the path of a page, such as /runs/r-1", reason="bad_field")
        origin = origin_of(request)
        if not origin:  # a token of another issuer's, which nobody here sees end
            raise Denied("a token of an issuer opens no page: log in there with a browser", reason="not_by_this_token")
        query = {"once": await self._sessions.invite(principal_of(request), origin)} | (
            {"next": wanted} if wanted != "/" else {}
        )
        body = {"address": f"{self._url}/login?{urlencode(query)}", "expires_in": int(INVITATION_LIFETIME)}
        return JSONResponse(body, 201, headers={"Cache-Control": "no-store"})

    async def login(self, request: Request) -> Response:
        code = request.query_params.get("once", "")
        # Programs that only look an address up ask by HEAD; that must not use it up.
        if not code or request.method == "HEAD":
            return self._page(request)
        limit(self._guesses, request)
        try:
            session, found = await self._sessions.accept(code)
        except Refused:
            self._guesses.wrong(address_of(request))
            raise
        if self._audit is not None:
            await self._audit.write(of_login("login", found.actor, reason="one_time_address"))
        wanted = request.query_params.get("next", "") or request.cookies.get(WANTED, "")
        answer = RedirectResponse(local_path(wanted), 303, {"Referrer-Policy": "no-referrer"})
        self._cookie.put(answer, session, self._sessions.left(found))
        answer.delete_cookie(WANTED, path="/login")
        return answer

    def _page(self, request: Request) -> Response:
        """What to do; where the person wanted to go is remembered until the address is opened."""
        wanted = local_path(request.query_params.get("next", "/"))
        answer = render(
            request, "login.html", wanted=wanted, provider=self.provider.provider.name if self.provider else ""
        )
        if wanted != "/":
            answer.set_cookie(
                WANTED, wanted, max_age=WANTED_SECONDS, path="/login", secure=self._cookie.secure, httponly=True,
                samesite="lax",
            )  # fmt: skip
        return answer

    async def logout(self, request: Request) -> Response:
        """Here, and by a page that leads there at the provider: our policy lets no form end at another site."""
        await read_form(request)
        given = request.scope[SESSION]
        session = await self._sessions.find(given)
        await self._sessions.end(given)
        if self._audit is not None and session is not None:
            await self._audit.write(of_login("logout", session.actor))
        there = await self.provider.goodbye(given, session) if self.provider else ""
        answer = render(request, "goodbye.html", there=there, actor="") if there else RedirectResponse("/login", 303)
        self._cookie.remove(answer)
        return answer
