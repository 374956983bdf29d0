"""What a request is in the audit: made from the request, the role that let it in or did not, and its answer."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from console.audit import Entry, Way, traceparent
from console.authority import Authority, Where, principal_of
from pipeline import trace
from pipeline.errors import EncliiError
from pipeline.store import now

QUIET: Final = frozenset({"POST /v1/exec/{session}/input", "POST /v1/exec/{session}/end", "POST /v1/logins"})
"""Parts of what was noted when it began, and what a login notes itself."""
NAME_LIMIT: Final = 64
MESSAGE_LIMIT: Final = 300
"""What is kept of a caller's own text: who is refused must not fill the audit."""
_TRACE: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_COMMAND: Final = re.compile(r"/commands/([^/?]+)$")
CLI: Final = "enclii"


def begin(request: Request) -> None:
    """Give the request a trace: the caller's, or one of its own."""
    given = request.headers.get("traceparent", "")
    traceparent.set(given if _TRACE.fullmatch(given) else trace.new())


def entry(
    request: Request, key: str, places: Sequence[Where], authority: Authority, *, service: str,
    answer: Response | None = None, error: EncliiError | None = None,
) -> Entry:  # fmt: skip
    """The entry of a request that was answered, or that failed with an error of ours."""
    who = principal_of(request)
    project, environment = places[0] if places else ("", "")
    location = answer.headers.get("location", "") if answer else ""
    command = _COMMAND.search(location)
    return Entry(
        id=command[1] if command else f"a-{uuid.uuid4()}",
        at=now(),
        who=who.name,
        way=way_of(request),
        role=authority.role(who, (project, environment)) or "",
        what=what(key),
        project=project[:NAME_LIMIT],
        environment=environment[:NAME_LIMIT],
        service=service[:NAME_LIMIT],
        result=_result(answer, error),
        reason=error.reason if error else "",
        message=error.message[:MESSAGE_LIMIT] if error else "",
        trace=traceparent.get(),
    )


def of_login(what: str, who: str, *, reason: str = "") -> Entry:
    """A login or logout with a browser; ``reason`` says how."""
    return Entry(id=f"a-{uuid.uuid4()}", at=now(), who=who, way="page", what=what, result="accepted", reason=reason)


def way_of(request: Request) -> Way:
    """The command line says what it is; another program does not."""
    if not request.url.path.startswith("/v1/"):
        return "page"
    return "CLI" if request.headers.get("user-agent", "") == CLI else "API"


def what(key: str) -> str:
    """``rollback`` of ``POST /v1/rollbacks`` and of ``POST /act/rollback``."""
    path = key.partition(" ")[2].removeprefix("/v1/").removeprefix("/act/").removeprefix("/")
    words = [part for part in path.split("/") if not part.startswith("{")]
    return " ".join([words[0].removesuffix("s"), *words[1:]]) if words else path


def _result(answer: Response | None, error: EncliiError | None) -> str:
    if error is not None:
        return "refused"
    return "accepted" if answer is not None and answer.status_code < 400 else "failed"
