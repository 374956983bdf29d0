"""Which role each address asks for, and where: one table for the API and the pages, and the guard that enforces it.

An address that is not in the table cannot be served at all. What an address only reads is limited by what its caller
may see (``console.sight``); whatever reaches past the projection, or changes something, names its role here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from console import auditing, sight
from console.audit import Audit
from console.authority import INSTALLATION, Authority, Where, principal_of
from console.bodies import parsed, read_bytes
from console.projection import Projection
from console.revocable import RECHECK, Revocable, principal_now
from pipeline.access import Role
from pipeline.errors import Denied, EncliiError, Invalid
from pipeline.names import BRANCH_PREFIX, split_service_id
from pipeline.promotions import Promotion
from pipeline.records import Project, Repository, Run

FORM: Final = "application/x-www-form-urlencoded"
FIELDS: Final = 60
EVENTS: Final = "text/event-stream"
PLACING: Final = frozenset({"project", "environment", "service", "run", "promotion"})
"""Fields that say where something is asked for."""


@dataclass(frozen=True)
class Asked:
    """A request with the fields of its body, as far as they are texts."""

    request: Request
    body: Mapping[str, str]
    db: Projection

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])


Places = Callable[[Asked], list[Where]]


@dataclass(frozen=True)
class Need:
    """At least ``role`` at every place that ``where`` finds; None: what is shown is limited to what is seen."""

    role: Role = "viewer"
    where: Places | None = None


def installation(_: Asked) -> list[Where]:
    """All of it."""
    return [INSTALLATION]


def service(asked: Asked) -> list[Where]:
    """The service of ``{id}``, in the environment of the query: for what reads."""
    project, _ = split_service_id(asked.path("id"))
    return [(project, asked.request.query_params.get("environment", ""))]


def acted_on(asked: Asked) -> list[Where]:
    """The service of ``{id}``, in the environment of the body: for what writes."""
    project, _ = split_service_id(asked.path("id"))
    return [(project, asked.body.get("environment", ""))]


def place(asked: Asked) -> list[Where]:
    """The project and environment of the path."""
    return [(asked.path("project"), asked.path("environment"))]


def body(asked: Asked) -> list[Where]:
    """The project and environment of the body."""
    return [(asked.body.get("project", ""), asked.body.get("environment", ""))]


def project(asked: Asked) -> list[Where]:
    """The project of the body, as a whole."""
    return [(asked.body.get("project", ""), "")]


def run(asked: Asked) -> list[Where]:
    """Every environment that the branch of the body's run feeds, else its project. Raises Denied."""
    found = asked.db.get(Run, asked.body.get("run", ""))
    owner = asked.db.get(Project, found.project) if found else None
    if found is None or owner is None:
        return _unknown("run")
    fed = [one.name for one in owner.environments if one.branch and BRANCH_PREFIX + one.branch == found.ref]
    return [(found.project, name) for name in fed or [""]]


def promotion(asked: Asked) -> list[Where]:
    """Where the body's promotion goes. Raises Denied."""
    found = asked.db.get(Promotion, asked.body.get("promotion", ""))
    return [(found.project, found.environment)] if found else _unknown("promotion")


def _unknown(what: str) -> list[Where]:
    """Whoever sees everything is told by the handler that there is none; the others learn nothing of it."""
    if sight.sees(""):
        return []
    raise Denied(f"there is no such {what}, or you have no role there", reason="role_missing")


def repository(asked: Asked) -> list[Where]:
    """The project of the repository in the path."""
    found = asked.db.get(Repository, asked.path("repository"))
    return [(found.project, "")] if found else [INSTALLATION]


_SEEN: Final = Need()
_VIEW_PLACE: Final = Need("viewer", place)
_VIEW_SERVICE: Final = Need("viewer", service)
_DEPLOY: Final = Need("deployer", body)
_ADMIN_THERE: Final = Need("admin", body)
_ROOT: Final = Need("admin", installation)

API: Final[Mapping[str, Need]] = {
    "GET /v1/openapi.json": _SEEN,
    "GET /v1/projects": _SEEN,
    "GET /v1/projects/{slug}": _SEEN,
    "GET /v1/projects/{slug}/environments": _SEEN,
    "GET /v1/projects/{slug}/pushes": _SEEN,
    "GET /v1/projects/{slug}/services": _SEEN,
    "GET /v1/services/{id}": _SEEN,
    "GET /v1/services/{id}/deployments/latest": _VIEW_SERVICE,
    "GET /v1/services/{id}/releases": _VIEW_SERVICE,
    "GET /v1/services/{id}/rollback-plan": _VIEW_SERVICE,
    "GET /v1/services/{id}/logs": _VIEW_SERVICE,
    "GET /v1/services/{id}/configuration": _VIEW_SERVICE,
    "GET /v1/services/{id}/secrets": _VIEW_SERVICE,
    "GET /v1/services/{id}/build-secrets": _VIEW_SERVICE,
    "GET /v1/build-secrets/key": _SEEN,
    "POST /v1/build-secrets": Need("admin", project),  # every environment stands on what is built with them
    "POST /v1/build-secrets/unset": Need("admin", project),
    "GET /v1/services/{id}/diff": _VIEW_SERVICE,
    "GET /v1/deployments": _SEEN,
    "GET /v1/deployments/{id}": _SEEN,
    "GET /v1/releases/{id}": _SEEN,
    "GET /v1/releases/{id}/deployments": _SEEN,
    "GET /v1/decisions": _SEEN,
    "GET /v1/deliveries": _SEEN,
    "GET /v1/holds": _SEEN,
    "GET /v1/events": _SEEN,
    "GET /v1/queue": Need("viewer", installation),
    "GET /v1/workers": Need("viewer", installation),
    "GET /v1/position": _SEEN,
    "GET /v1/status": _SEEN,
    "GET /v1/ps": _SEEN,
    "GET /v1/domains": _SEEN,
    "GET /v1/builds": _SEEN,
    "GET /v1/builds/{id}": _SEEN,
    "GET /v1/runs": _SEEN,
    "GET /v1/runs/{id}": _SEEN,
    "GET /v1/runs/{id}/events": _SEEN,
    "GET /v1/runs/{id}/logs": _SEEN,
    "GET /v1/why/{id:path}": _SEEN,
    "GET /v1/trace/{id:path}": _SEEN,
    "GET /v1/parked": _SEEN,
    "GET /v1/promotions": _SEEN,
    "GET /v1/previews": _SEEN,
    "GET /v1/commands/{id}": _SEEN,
    "GET /v1/retention": Need("viewer", installation),
    "GET /v1/retention/storing": Need("viewer", installation),
    "GET /v1/doctor": Need("viewer", installation),
    "GET /v1/verify": Need("viewer", installation),
    "GET /v1/webhooks/{repository:path}": Need("admin", repository),
    "POST /v1/rollbacks": _DEPLOY,
    "POST /v1/holds": _DEPLOY,
    "POST /v1/resumes": _DEPLOY,
    "POST /v1/deploys": _DEPLOY,
    "POST /v1/destroys": _ADMIN_THERE,
    "POST /v1/adoptions": _ADMIN_THERE,
    "POST /v1/scales": _DEPLOY,
    "POST /v1/restarts": _DEPLOY,
    "POST /v1/promotions": _DEPLOY,
    "POST /v1/cancels": Need("deployer", run),
    "POST /v1/links": Need("admin", project),
    "POST /v1/previews": Need("deployer", project),
    "POST /v1/previews/approvals": Need("admin", project),  # a stranger's code is let in
    "POST /v1/reviews": Need("deployer", promotion),
    "POST /v1/checks": Need("deployer", project),
    "POST /v1/freezes": _ROOT,
    "POST /v1/retentions": _ROOT,
    "POST /v1/parked/{id}/{verb:str}": _ROOT,
    "GET /v1/secrets/key": _SEEN,
    "POST /v1/secrets": _DEPLOY,
    "POST /v1/secrets/unset": _DEPLOY,
    "POST /v1/services/{id}/exec": Need("deployer", acted_on),
    "POST /v1/exec/{session}/input": _SEEN,  # a session is its actor's alone
    "GET /v1/exec/{session}/output": _SEEN,
    "POST /v1/exec/{session}/end": _SEEN,
    "POST /v1/logins": _SEEN,  # leads to the roles that the caller has
    "GET /v1/whoami": _SEEN,
    "GET /v1/tokens": _SEEN,  # one's own, and those that one rules
    "POST /v1/tokens": _ADMIN_THERE,
    "POST /v1/tokens/{id}/revoke": _SEEN,
    "GET /v1/audit": _SEEN,
}
_SERVICE_PAGE: Final = "GET /services/{project}/{environment}/{service}"
PAGES: Final[Mapping[str, Need]] = {
    "GET /": _SEEN,
    _SERVICE_PAGE: _VIEW_PLACE,
    **{
        f"{_SERVICE_PAGE}/{end}": _VIEW_PLACE
        for end in ("releases", "rollback", "secrets", "logs", "logs/live", "logs/text", "proof")
    },
    "GET /runs": _SEEN,
    "GET /runs/{id}": _SEEN,
    "GET /runs/{id}/live": _SEEN,
    "GET /runs/{id}/log": _SEEN,
    "GET /live": _SEEN,
    "GET /decisions": _SEEN,
    "GET /why": _SEEN,
    "GET /promotions": _SEEN,
    "GET /queue": _SEEN,
    "GET /settings": _SEEN,
    "GET /tokens": _SEEN,
    "POST /tokens": _ADMIN_THERE,
    "POST /tokens/{id}/revoke": _SEEN,  # one's own, and those that one rules
    "GET /audit": _SEEN,
    "GET /figures": _SEEN,
    "GET /previews": _SEEN,
    "GET /setup": _SEEN,
    "GET /session": _SEEN,
    "GET /commands/{id}": _SEEN,
    "GET /device": _SEEN,
    "POST /device": _SEEN,  # gives a command line what oneself may
    **{f"POST /act/{name}": _DEPLOY for name in ("rollback", "hold", "resume", "deploy", "restart")},
    "POST /act/review": Need("deployer", promotion),
    "POST /act/cancel": Need("deployer", run),
    "POST /act/preview": Need("deployer", project),
    "POST /act/approval": Need("admin", project),  # a stranger's code is let in
    "POST /parked/{id}/{verb}": _ROOT,
}
UNGUARDED: Final = frozenset(
    {"GET /login", "GET /login/start", "GET /login/callback", "POST /login/backchannel", "POST /logout",
     "GET /static/{name}", "POST /v1/device", "POST /v1/device/token"}
)  # fmt: skip
"""What answers before anybody is known, or ends that."""


def key_of(route: Route) -> str:
    """An address as the table names it."""
    return f"{'POST' if 'POST' in (route.methods or ()) else 'GET'} {route.path}"


def guarded(
    routes: Iterable[Route],
    table: Mapping[str, Need],
    *,
    authority: Authority,
    db: Projection,
    audit: Audit | None = None,
    recheck: float = RECHECK,
) -> list[Route]:
    """The same addresses behind their roles; what changes something, or would have, is written into the audit, and who
    reads a stream is looked at again every ``recheck`` seconds.

    Raises LookupError for an address that the table does not have.
    """
    return [_guarded(route, table, authority, db, audit, recheck) for route in routes]


def _guarded(
    route: Route, table: Mapping[str, Need], authority: Authority, db: Projection, audit: Audit | None, recheck: float
) -> Route:
    key = key_of(route)
    if key in UNGUARDED:
        return route
    if key not in table:
        raise LookupError(f"{key} asks for no role: name one in console/permissions.py")
    need, inner = table[key], route.endpoint
    noted = audit if key.startswith("POST") and key not in auditing.QUIET else None

    @functools.wraps(inner)
    async def endpoint(request: Request) -> Response:
        auditing.begin(request)
        data = await read_bytes(request) if request.method == "POST" else b""
        asked = Asked(request, _texts(request, data) if need.where or noted else {}, db)
        places: list[Where] = []
        answer, failed = None, None
        try:
            places = _places(need.where, asked) if need.where else []
            authority.demand(principal_of(request), need.role, places)
            again = Request(request.scope, _again(data)) if request.method == "POST" else request
            answer = await _answered(inner, again)
        except EncliiError as error:
            failed = error
            raise
        finally:
            if noted is not None:
                service = asked.body.get("service", "")
                await noted.write(
                    auditing.entry(request, key, places, authority, service=service, answer=answer, error=failed)
                )
        if answer.headers.get("content-type", "").startswith(EVENTS):

            async def still() -> None:
                authority.demand(await principal_now(request), need.role, places)

            return Revocable(answer, still, every=recheck)
        return answer

    return Route(route.path, endpoint, methods=sorted(route.methods or ()), name=route.name)


def _places(where: Places, asked: Asked) -> list[Where]:
    """A write is asked for by its body alone; a query that says otherwise is a mistake or worse. Raises Invalid."""
    if asked.request.method == "POST":
        for name, value in asked.request.query_params.multi_items():
            if name in PLACING and value != asked.body.get(name, ""):
                raise Invalid(f"{name}: the query says something else than the body", reason="contradiction")
    return where(asked)


async def _answered(inner: Callable[[Request], Any], request: Request) -> Response:
    answer = await inner(request) if inspect.iscoroutinefunction(inner) else await run_in_threadpool(inner, request)
    assert isinstance(answer, Response)
    return answer


def _texts(request: Request, data: bytes) -> dict[str, str]:
    """The fields of a body that are texts; the handler reads it again and checks all of it. Raises Invalid."""
    if not data:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() == FORM:
        try:
            return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=FIELDS))
        except ValueError as error:
            raise Invalid("the form cannot be read", reason="bad_form") from error
    found: dict[str, Any] = parsed(data)
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _again(data: bytes) -> Callable[[], Any]:
    """A body that was read, to be read once more."""

    async def receive() -> Message:
        return {"type": "http.request", "body": data, "more_body": False}

    return receive
