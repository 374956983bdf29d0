"""Logging in and out at the identity provider: where the browser is sent, what comes back, and logouts told by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from console.audit import Audit
from console.auditing import of_login
from console.bodies import read_bytes
from console.web.guard import Cookie
from console.web.guesses import Guesses, address_of, limit
from console.web.security import local_path
from console.web.sessions import ATTEMPT_LIFETIME, Session, Sessions, issuer_subject, new_id
from pipeline.errors import EncliiError, Refused

if TYPE_CHECKING:
    from console.identity.provider import Provider
    from console.identity.renewal import Renewal

ATTEMPT: Final = "enclii-login"
CALLBACK: Final = "/login/callback"
FIELDS: Final = 10
STARTS: Final = 60
"""Logins that one address may begin in a minute and not end: an office may share one."""


class ProviderLogin:
    """The handlers."""

    def __init__(
        self, sessions: Sessions, provider: Provider, renewal: Renewal, *, console_url: str, audit: Audit | None = None
    ) -> None:
        self.provider = provider
        self.renewal = renewal
        self._sessions = sessions
        self._audit = audit
        self._url = console_url.rstrip("/")
        self._cookie = Cookie.of(console_url)
        self._guesses = Guesses(most=STARTS)

    def routes(self) -> list[Route]:
        return [
            Route("/login/start", self.start, methods=["GET"]),
            Route(CALLBACK, self.callback, methods=["GET"]),
            Route("/login/backchannel", self.logged_out, methods=["POST"]),
        ]

    async def start(self, request: Request) -> Response:
        """To the provider; what its answer must fit to is kept here, and the browser keeps which one that is."""
        limit(self._guesses, request)
        self._guesses.wrong(address_of(request))  # counted at its beginning, forgiven when it succeeds
        address, kept = await self.provider.begin(self._url + CALLBACK)
        attempt = await self._sessions.attempt(kept, local_path(request.query_params.get("next", "/")))
        answer = RedirectResponse(address, 303)
        answer.set_cookie(
            ATTEMPT, attempt, max_age=int(ATTEMPT_LIFETIME), path="/login", secure=self._cookie.secure, httponly=True,
            samesite="lax",
        )  # fmt: skip
        return answer

    async def callback(self, request: Request) -> Response:
        """Back from the provider: an attempt counts once, and the session's id is a new one."""
        limit(self._guesses, request)
        attempt = await self._sessions.attempted(request.cookies.get(ATTEMPT, ""))
        if attempt is None:
            raise Refused(
                "this login was used, took too long or began in another browser: log in again", reason="bad_login_code"
            )
        found = await self.provider.finish(attempt.kept, request.query_params)
        new = new_id()
        session = self.renewal.session(new, found, until=self._sessions.lasting())
        await self._sessions.begin(session, new)
        if self._audit is not None:
            await self._audit.write(of_login("login", found.who.name, reason=self.provider.name))
        self._guesses.forgive(address_of(request))
        answer = RedirectResponse(local_path(attempt.wanted), 303, {"Referrer-Policy": "no-referrer"})
        self._cookie.put(answer, new, self._sessions.left(session))
        answer.delete_cookie(ATTEMPT, path="/login", secure=self._cookie.secure, httponly=True, samesite="lax")
        return answer

    async def logged_out(self, request: Request) -> Response:
        """The provider says that somebody logged out there (OpenID Connect Back-Channel Logout)."""
        limit(self._guesses, request)
        text = (await read_bytes(request)).decode("ascii", "replace")
        fields = dict(parse_qsl(text)) if text.count("&") < FIELDS else {}
        try:
            subject, session, number = await self.provider.logged_out(fields.get("logout_token", ""))
            issuer = self.provider.issuer.url
            told = f"{issuer} {number}"
            if await self._sessions.said("logout", told):
                raise Refused("this logout was told before", reason="replayed")
            # Ended first and marked then: dying in between, the provider's next try ends them again.
            await self._sessions.end_all_of(issuer=issuer, subject=subject, provider_session=session)
            if not session:  # all of the person's logins, those of command lines too
                await self._sessions.persons.end(issuer_subject(issuer, subject))
            await self._sessions.say("logout", told)
        except Refused as error:
            self._guesses.wrong(address_of(request))
            answer = {"error": "invalid_request", "error_description": error.message}
            return JSONResponse(answer, 400, headers={"Cache-Control": "no-store"})
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    async def goodbye(self, given: str, session: Session | None) -> str:
        """Where a person who logs out here also logs out at the provider; "" when nowhere."""
        if session is None or not session.subject:
            return ""
        from console.identity.renewal import opened

        hint = opened(given, session.sealed).get("id_token", "")
        try:
            return await self.provider.logout_address(hint, f"{self._url}/login")
        except EncliiError:
            return ""
