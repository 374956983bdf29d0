"""Who looks at a page: the browser's cookie names a session, and without one there is only the login."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from console import sight
from console.authority import PRINCIPAL, Authority
from console.bearer import ACTOR
from console.origins import ORIGIN, Origins
from console.revocable import AGAIN
from console.web.security import SESSION
from console.web.sessions import Session, Sessions
from pipeline.access import Principal
from pipeline.errors import EncliiError

if TYPE_CHECKING:
    from console.identity.renewal import Renewal

LEFT: Final = "enclii.session_left"


def is_public(path: str) -> bool:
    """What answers before anybody is known: the login's pages and the files."""
    return path == "/login" or path.startswith(("/login/", "/static/"))


@dataclass(frozen=True)
class Cookie:
    """The cookie with the session's id; its name carries the port, which browsers do not tell apart."""

    name: str
    secure: bool

    @classmethod
    def of(cls, console_url: str) -> Cookie:
        """The cookie of a console that people reach at ``console_url``."""
        parts = urlsplit(console_url)
        secure = parts.scheme == "https"
        return cls("__Host-enclii" if secure else f"enclii-{parts.port or 80}", secure)

    def put(self, answer: Response, session: str, seconds: float) -> None:
        """Give the browser the id of its session."""
        answer.set_cookie(
            self.name, session, max_age=int(seconds), path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    def remove(self, answer: Response) -> None:
        """Take it back."""
        answer.delete_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite="lax")


class Guard:
    """Lets a request pass whose session lasts, and says whose it is; every other one is sent to the login."""

    def __init__(
        self, app: ASGIApp, *, sessions: Sessions, cookie: Cookie, authority: Authority, origins: Origins,
        renewal: Renewal | None = None,
    ) -> None:  # fmt: skip
        self._app = app
        self._origins = origins
        self._renewal = renewal
        self._authority = authority
        self._sessions = sessions
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_public(scope["path"]):
            with sight.limited(sight.NOTHING):
                await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.cookies.get(self._cookie.name, "")
        try:
            session = await self._session(given)
        except EncliiError as error:
            await PlainTextResponse(error.message, 503, {"Retry-After": "1"})(scope, receive, send)
            return
        if session is None:
            await _login(request)(scope, receive, send)
            return
        with sight.limited(self._authority.sight(session.who)):
            await self._app({**scope, **self._known(given, session)}, receive, send)

    async def _session(self, given: str) -> Session | None:
        """The session as it counts now."""
        session, seq = await self._sessions.entry(given)
        if session is not None and self._renewal is not None:
            session = await self._renewal.current(given, session, seq)
        if session is None or not session.origin:
            return session
        who = await self._origins.current(session.origin, session.who)
        return replace(session, who=who) if who is not None else None

    async def _again(self, given: str) -> Principal | None:
        session = await self._session(given)
        return session.who if session is not None else None

    def _known(self, given: str, session: Session) -> dict[str, object]:
        # What is begun with a login at the provider is its person's; with a token's session, that token's.
        origin = self._origins.persons.origin(session.subject) if session.subject else session.origin
        return {
            ACTOR: session.actor, PRINCIPAL: session.who, SESSION: given, LEFT: self._sessions.left(session),
            ORIGIN: origin, AGAIN: functools.partial(self._again, given),
        }  # fmt: skip


def _login(request: Request) -> Response:
    """A stream cannot be redirected to a page: its reader is told by the status."""
    accepted = request.headers.get("accept", "")
    if "text/event-stream" in accepted or accepted == "application/json":
        return PlainTextResponse("log in again", 401)
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = f"?next={quote(target, safe='')}" if request.method == "GET" and target != "/" else ""
    return RedirectResponse(f"/login{wanted}", 303)
