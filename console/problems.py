"""Errors as RFC 9457 problems: the tree of ``pipeline.errors`` becomes status, reason code and the CLI's exit code.

The text is what the error says; what went wrong inside is logged, never shown.
"""

from __future__ import annotations

import json
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from console.advice import next_step
from pipeline.errors import Conflict, Denied, EncliiError, Invalid, NotFound, Refused, Superseded, Unavailable

MEDIA_TYPE: Final = "application/problem+json"
TITLES: Final = {
    400: "That is not valid",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Refused",
    413: "Too large",
    500: "Something went wrong inside",
    503: "Not available now",
}
EXITS: Final = {400: 2, 401: 4, 403: 6, 404: 5, 409: 6}
_STATUS: Final[dict[type[EncliiError], int]] = {
    Invalid: 400,
    NotFound: 404,
    Denied: 403,
    Refused: 409,
    Superseded: 409,
    Conflict: 409,
    Unavailable: 503,
}


def problem(status: int, detail: str, *, reason: str, headers: dict[str, str] | None = None) -> Response:
    """A problem as the answer to a request."""
    body = {
        "type": "about:blank",
        "title": TITLES.get(status, "Failed"),
        "status": status,
        "detail": detail,
        "reason_code": reason,
        "exit_code": EXITS.get(status, 1),
        "next": next_step(reason, EXITS.get(status, 1)),
    }
    return Response(json.dumps(body), status, media_type=MEDIA_TYPE, headers=headers)


async def on_error(_: Request, error: Exception) -> Response:
    """The answer to an error of ours."""
    if not isinstance(error, EncliiError):
        return await on_surprise(_, error)
    status = status_of(error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return problem(status, error.message, reason=error.reason, headers=headers)


def status_of(error: EncliiError) -> int:
    """The status that says what the error is."""
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)


async def on_http_error(_: Request, error: Exception) -> Response:
    """The answer to what the router refused."""
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    reason = {404: "no_such_address", 405: "method_not_allowed"}.get(status, "http_error")
    return problem(status, detail, reason=reason)


async def on_surprise(_: Request, __: Exception) -> Response:
    """The answer to what nobody expected; the server's log has the rest."""
    return problem(500, "the console could not answer; its log says why", reason="internal_error")
