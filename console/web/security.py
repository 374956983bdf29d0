"""What keeps other sites and injected text out: headers, form tokens, local addresses."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.bodies import read_bytes
from console.web.sessions import form_token
from pipeline.errors import Invalid, Refused

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# same-origin and not no-referrer: with the latter browsers send "Origin: null" with our own forms.
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
YEAR: Final = 31_536_000
FIELDS: Final = 40
LONGEST_PATH: Final = 2_000
SESSION: Final = "enclii.session"


class SecureHeaders:
    """Puts the headers on every answer that does not say otherwise."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = HEADERS | ({"Strict-Transport-Security": f"max-age={YEAR}"} if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)


def local_path(text: str) -> str:
    """``text`` if it is an address within this site, else ``/``: a login must not send anybody elsewhere."""
    plain = text.isascii() and text.isprintable() and "\\" not in text and len(text) <= LONGEST_PATH
    if not plain or not text.startswith("/") or text.startswith("//"):
        return "/"
    parts = urlsplit(text)
    inside = not parts.scheme and not parts.netloc and parts.path.split("/")[1] not in {"login", "logout"}
    return text if inside else "/"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that this site made for this session. Raises Invalid, Refused, HTTPException."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "a form is what is understood here")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Refused("the form was sent by another site", reason="cross_site")
    try:
        text = (await read_bytes(request)).decode()
        fields = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=FIELDS))
    except ValueError as error:
        raise Invalid("the form cannot be read", reason="bad_form") from error
    _check_token(request, fields)
    return {key: value for key, value in fields.items() if key != "csrf"}


def _check_token(request: Request, fields: Mapping[str, str]) -> None:
    given, wanted = fields.get("csrf", ""), form_token(request.scope[SESSION])
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Refused("the form is not of this login: open the page again", reason="bad_form_token")
