"""The console's two faces behind one address: ``/v1`` for programs with a token, everything else for browsers."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from console import permissions, problems
from console.audit import Audit
from console.authority import Authority
from console.counting import counted, expect
from console.device import Devices
from console.origins import Origins
from console.package_changes import Packages
from console.permissions import guarded
from console.projection import Projection
from console.revocable import RECHECK
from console.service_feed import Feeds
from console.token_routes import TokenRoutes
from console.web.acts import Acts
from console.web.audit_page import AuditPage
from console.web.device_page import DevicePage
from console.web.guard import Cookie, Guard
from console.web.live import Live
from console.web.login import Login
from console.web.pages import Available, Doctor, Pages
from console.web.pictures import Pictures
from console.web.preview_page import PreviewPage
from console.web.proof_page import ProofPage, Verify
from console.web.rendering import KINDS, STATIC, render
from console.web.security import SecureHeaders
from console.web.sessions import Sessions
from console.web.token_page import TokenPage
from pipeline.errors import EncliiError, Refused
from pipeline.store import Store

log = logging.getLogger(__name__)
API: Final = "/v1"
FORBIDDEN: Final = frozenset({"bad_form_token", "bad_login_code", "cross_site"})
FOR_EVER: Final = "public, max-age=31536000, immutable"


class Front:
    """Gives each request to the face that it is for."""

    def __init__(self, *, api: ASGIApp, web: ASGIApp) -> None:
        self._api = api
        self._web = web
        expect()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        chosen = self._api if path == API or path.startswith(f"{API}/") else self._web
        await chosen(scope, receive, counted(scope, send))


def create_web(
    *,
    projection: Projection,
    store: Store,
    logs: Feeds,
    sessions: Sessions,
    login: Login,
    console_url: str,
    origins: Origins,
    devices: Devices | None = None,
    tokens: TokenRoutes | None = None,
    audit: Audit | None = None,
    doctor: Doctor | None = None,
    verify: Verify | None = None,
    available: Available | None = None,
    packages: Packages | None = None,
    stopping: asyncio.Event | None = None,
    recheck: float = RECHECK,
) -> ASGIApp:
    """The pages. The API has the same ``logs``; ``stopping`` ends open streams, whose readers are looked at again
    every ``recheck`` seconds.
    """
    cookie, authority = Cookie.of(console_url), Authority(projection)
    renewal = login.provider.renewal if login.provider else None
    routes = [
        *login.routes(),
        *Pages(projection, doctor, store.bus, available, packages).routes(),
        *(ProofPage(projection, verify).routes() if verify else []),
        *Pictures(projection, doctor).routes(),
        *Live(projection, store.bus, logs, stopping or asyncio.Event()).routes(),
        *Acts(projection, store).routes(),
        *PreviewPage(projection, store).routes(),
        *(DevicePage(devices).routes() if devices else []),
        *(TokenPage(tokens, login.provider.provider if login.provider else None).routes() if tokens else []),
        *(AuditPage(audit).routes() if audit else []),
        Route("/static/{name}", static_file, methods=["GET"]),
    ]
    pages = Starlette(
        routes=guarded(routes, permissions.PAGES, authority=authority, db=projection, audit=audit, recheck=recheck),
        middleware=[
            Middleware(Guard, sessions=sessions, cookie=cookie, authority=authority, origins=origins, renewal=renewal)
        ],
        exception_handlers={EncliiError: on_error, HTTPException: on_http_error, Exception: on_surprise},
    )
    # Around the application and not within it: the page of a surprise is made outside its middleware.
    return SecureHeaders(pages, https=cookie.secure)


def static_file(request: Request) -> Response:
    """A file of ours; only those that are there by name, so no path can leave the folder."""
    file = next((one for one in STATIC.iterdir() if one.name == request.path_params["name"]), None)
    if file is None:
        raise HTTPException(404)
    return Response(file.read_bytes(), media_type=KINDS.get(file.suffix), headers={"Cache-Control": FOR_EVER})


async def on_error(request: Request, error: Exception) -> Response:
    """A page that says what an error of ours says."""
    if not isinstance(error, EncliiError):
        return await on_surprise(request, error)
    login = isinstance(error, Refused) and request.url.path.startswith("/login")
    status = 403 if login or error.reason in FORBIDDEN else problems.status_of(error)
    return render(request, "error.html", status, status=status, message=error.message, reason=error.reason)


async def on_http_error(request: Request, error: Exception) -> Response:
    """A page for what the router, or a limit, refused."""
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    answer = render(request, "error.html", status, status=status, message=detail, reason=f"http_{status}")
    answer.headers.update((error.headers or {}) if isinstance(error, HTTPException) else {})
    return answer


async def on_surprise(request: Request, _: Exception) -> Response:
    """A page for what nobody expected; the server's log has the rest."""
    told = "the console could not answer; its log says why"
    return render(request, "error.html", 500, status=500, message=told, reason="internal_error")
