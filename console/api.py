"""The REST API: what the CLI and the pages read and ask for, behind one bearer token.

Reads come from the projection; every POST publishes one event and answers 202 with the id of its command.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import (
    actions,
    adoptions,
    asking,
    builds,
    given,
    happenings,
    overview,
    paging,
    permissions,
    problems,
    promotions,
    queries,
    service_list,
    steps,
    streams,
)
from console.audit import Audit
from console.authority import Authority, principal_of
from console.bearer import Bearer, Known, actor_of
from console.bodies import accepted, read_body
from console.build_logs import BuildLogs
from console.build_secret_routes import BuildSecretRoutes
from console.conditional import Conditional
from console.configuration import configuration
from console.domains import domains
from console.exec_routes import ExecRoutes
from console.forges import Forges
from console.permissions import guarded
from console.preview_routes import PreviewRoutes
from console.projection import Projection
from console.refusals import admit
from console.resources import Resources
from console.retention import RetentionView
from console.revocable import RECHECK
from console.secret_routes import SecretRoutes
from console.service_feed import Feeds
from console.service_logs_view import LogsView
from console.web.security import SecureHeaders
from console.why import why
from gitops.clusters.exec_relay import Commands
from pipeline.errors import EncliiError
from pipeline.events import AdoptRequested, DeployRequested, Event, LinkRequested
from pipeline.names import split_service_id
from pipeline.records import Repository
from pipeline.store import Store

Doctor = Callable[[], Awaitable[list[dict[str, str]]]]
"""The checks of this installation: ``{"level": ok|warning|error, "subject", "message", "fix"}`` each."""

Available = Callable[[list[dict[str, Any]]], Awaitable[None]]
"""Says of each release whether the registry has its image."""

Handler = Callable[[Request], Awaitable[Response]]
"""Answers one address."""

LONGEST_WAIT: Final = 30.0
ALL: Final = 100_000


def create_api(
    *,
    projection: Projection,
    store: Store,
    logs: Feeds,
    token: str,
    forges: Forges,
    doctor: Doctor | None = None,
    verify: Handler | None = None,
    diff: Handler | None = None,
    available: Available | None = None,
    actor: str = "deployer",
    people: Path | None = None,
    stopping: asyncio.Event | None = None,
    more: Sequence[Route] = (),
    others: Sequence[Known] = (),
    audit: Audit | None = None,
    recheck: float = RECHECK,
) -> Starlette:
    """The application. ``actor`` is who the token's holder is, ``people`` the folder of others' tokens; ``stopping``
    ends open streams, whose readers are looked at again every ``recheck`` seconds; ``more`` are further addresses
    behind the same door, ``others`` know further kinds of tokens.
    """
    if not token:
        raise ValueError("the API needs a token")
    authority = Authority(projection)
    surface = _Surface(projection, store, logs, forges, doctor, verify, diff, available, stopping or asyncio.Event())
    handlers = {
        EncliiError: problems.on_error,
        HTTPException: problems.on_http_error,
        Exception: problems.on_surprise,
    }
    routes = [*surface.routes(), *more]
    routes.append(Route("/v1/openapi.json", lambda _: _described(routes), methods=["GET"]))
    return Starlette(
        routes=guarded(routes, permissions.API, authority=authority, db=projection, audit=audit, recheck=recheck),
        middleware=[
            Middleware(SecureHeaders, https=False),
            Middleware(Bearer, token=token, actor=actor, authority=authority, people=people, others=others),
            Middleware(Conditional),
        ],
        exception_handlers=handlers,
    )


def _described(routes: Sequence[Route]) -> Response:
    from console.openapi import encoded  # the shapes of all answers: for who asks

    return Response(encoded(routes), media_type="application/json")


class _Surface:
    """The handlers, by the address that they answer."""

    def __init__(
        self,
        projection: Projection,
        store: Store,
        logs: Feeds,
        forges: Forges,
        doctor: Doctor | None,
        verify: Handler | None,
        diff: Handler | None,
        available: Available | None,
        stopping: asyncio.Event,
    ) -> None:
        self._db = projection
        self._store = store
        self._retention = RetentionView(store)
        self._logs = logs
        self._forges = forges
        self._doctor = doctor
        self._verify = verify
        self._diff = diff
        self._available = available
        self._stopping = stopping

    def routes(self) -> list[Route]:
        """The table of addresses."""
        reads = (
            {
                "/v1/projects": self.projects,
                "/v1/projects/{slug}/services": self.services,
                "/v1/services/{id}/deployments/latest": self.latest,
                "/v1/services/{id}/releases": self.releases,
                "/v1/services/{id}/rollback-plan": self.rollback_plan,
                "/v1/services/{id}/logs": LogsView(self._db, self._logs, self._stopping).answer,
                "/v1/services/{id}/configuration": self.configuration,
                "/v1/deployments/{id}": self.deployment,
                "/v1/releases/{id}/deployments": self.release_deployments,
                "/v1/status": self.status,
                "/v1/position": self.position,
                "/v1/ps": self.processes,
                "/v1/domains": self.domains,
                "/v1/builds": self.builds,
                "/v1/builds/{id}": self.build,
                "/v1/runs": self.runs,
                "/v1/runs/{id}": self.run,
                "/v1/runs/{id}/events": self.run_events,
                "/v1/why/{id:path}": self.why,
                "/v1/trace/{id:path}": self.trace,
                "/v1/events": self.events,
                "/v1/parked": self.parked,
                "/v1/promotions": self.promotions,
                "/v1/retention": self._retention.answer,
                "/v1/retention/storing": self._retention.storing,
                "/v1/commands/{id}": self.command,
                "/v1/webhooks/{repository:path}": self.webhook,
            }
            | ({"/v1/doctor": self.doctor} if self._doctor else {})
            | ({"/v1/verify": self._verify} if self._verify else {})
            | ({"/v1/services/{id}/diff": self._diff} if self._diff else {})
        )
        kinds: dict[str, type[Event]] = {**actions.COMMANDS, **actions.OTHERS}
        acting = [Route(f"/v1/{name}", self._acting(kind), methods=["POST"]) for name, kind in kinds.items()]
        acting.append(Route("/v1/parked/{id}/{verb:str}", self.settle_parked, methods=["POST"]))
        return [Route(path, handler, methods=["GET"]) for path, handler in reads.items()] + [
            *acting,
            *Resources(self._db, self._store.bus).routes(),
            *(SecretRoutes(self._db, self._store).routes() + PreviewRoutes(self._db, self._store).routes()),
            *BuildSecretRoutes(self._db, self._store).routes(),
            *BuildLogs(self._db, self._store.bus, self._stopping).routes(),
            *ExecRoutes(self._db, Commands(self._store.bus), self._stopping).routes(),
        ]

    def projects(self, _: Request) -> Response:
        return JSONResponse(queries.projects(self._db))

    def services(self, request: Request) -> Response:
        query = request.query_params
        environment, slug = query.get("environment", ""), request.path_params["slug"]
        after = paging.place(query.get("cursor", ""), 1) or ("",)
        found = service_list.services(
            self._db, slug, environment, include_status=given.flag(request, "include_status"), now=_now(),
            limit=given.whole(request, "limit", 0, ALL), after=after[0],
        )  # fmt: skip
        return Response(msgspec.json.encode(found), media_type="application/json")

    def latest(self, request: Request) -> Response:
        project, service = split_service_id(request.path_params["id"])
        environment = request.query_params.get("environment", "")
        return JSONResponse(queries.latest_deployment(self._db, project, service, environment))

    async def releases(self, request: Request) -> Response:
        """With ``available=true``: also whether the registry has each image, which takes a request for each."""
        project, service = split_service_id(request.path_params["id"])
        environment = request.query_params.get("environment", "")
        limit, after = given.limit(request, 10), _after(request)
        found = await asyncio.to_thread(queries.releases, self._db, project, service, environment, limit, after)
        if given.flag(request, "available") and self._available:
            await self._available(found["releases"])
        return JSONResponse(found)

    def rollback_plan(self, request: Request) -> Response:
        project, service = split_service_id(request.path_params["id"])
        environment = request.query_params.get("environment", "")
        to = given.whole(request, "to", 0, 1 << 31)
        return JSONResponse(promotions.rollback_plan(self._db, project, service, environment, to))

    def configuration(self, request: Request) -> Response:
        project, service = split_service_id(request.path_params["id"])
        environment = request.query_params.get("environment", "")
        return JSONResponse(configuration(self._db, project, environment, service))

    def deployment(self, request: Request) -> Response:
        return JSONResponse(queries.deployment(self._db, request.path_params["id"]))

    def release_deployments(self, request: Request) -> Response:
        return JSONResponse(queries.release_deployments(self._db, request.path_params["id"]))

    async def position(self, request: Request) -> Response:
        """How far the projection is; with ``after`` and ``wait``, once something was applied behind ``after``."""
        await self._moved_behind(given.whole(request, "after", 0, 1 << 62), _wait(request))
        return JSONResponse({"seq": self._db.position()})

    async def status(self, request: Request) -> Response:
        """With ``after`` and ``wait``: answers when something was applied behind ``after``, at the latest then."""
        await self._moved_behind(given.whole(request, "after", 0, 1 << 62), _wait(request))
        return JSONResponse(await asyncio.to_thread(overview.status, self._db, *given.scope(request)))

    async def _moved_behind(self, position: int, seconds: float) -> None:
        moved = self._db.moved
        if seconds and self._db.position() <= position:
            await _at_most(seconds, moved)

    def domains(self, _: Request) -> Response:
        return JSONResponse({"domains": domains(self._db)})

    def processes(self, request: Request) -> Response:
        return JSONResponse(overview.processes(self._db, *given.scope(request)))

    def runs(self, request: Request) -> Response:
        project = request.query_params.get("project", "")
        return JSONResponse(queries.runs(self._db, project, given.limit(request, 20), _after(request)))

    def builds(self, request: Request) -> Response:
        project, _, service = given.scope(request)
        limit, after = given.limit(request, 20), _after(request)
        return JSONResponse(builds.builds(self._db, project, service, limit, after))

    def build(self, request: Request) -> Response:
        return JSONResponse(builds.build_of(self._db, request.path_params["id"], given.scope(request)[2]))

    def run(self, request: Request) -> Response:
        return JSONResponse(queries.run(self._db, request.path_params["id"]))

    def why(self, request: Request) -> Response:
        return JSONResponse(why(self._db, request.path_params["id"]))

    async def trace(self, request: Request) -> Response:
        return JSONResponse(await steps.trace(self._db, self._store.bus, request.path_params["id"]))

    def promotions(self, request: Request) -> Response:
        project, environment, _ = given.scope(request)
        limit, every = given.limit(request, 50), given.flag(request, "all")
        found = promotions.promotions(
            self._db, project, environment, limit, every=every, after=_after(request) if every else None
        )
        return JSONResponse(found)

    def parked(self, _: Request) -> Response:
        return JSONResponse(queries.parked(self._db))

    async def doctor(self, _: Request) -> Response:
        assert self._doctor is not None
        return JSONResponse({"checks": await self._doctor()})

    async def run_events(self, request: Request) -> Response:
        run = request.path_params["id"]
        await asyncio.to_thread(queries.run, self._db, run)
        return streams.response(streams.run_changes(self._db, run), self._stopping)

    async def events(self, request: Request) -> Response:
        wanted = happenings.Wanted(*given.scope(request), type=request.query_params.get("type", ""))
        await asyncio.to_thread(queries.check_scope, self._db, *given.scope(request))
        follow = "follow" not in request.query_params or given.flag(request, "follow")
        tail = given.whole(request, "tail", 0, happenings.MOST)
        told = happenings.happenings(self._store.bus, wanted, last_id=_last_id(request), tail=tail, follow=follow)
        return streams.response(told, self._stopping)

    async def command(self, request: Request) -> Response:
        """With ``wait``: answers when the command was decided, at the latest after that many seconds."""
        wanted = request.path_params["id"]
        deadline = asyncio.get_running_loop().time() + _wait(request)
        while True:
            moved = self._db.moved
            found = await actions.command(self._store, self._db, wanted)
            left = deadline - asyncio.get_running_loop().time()
            if found["status"] != "pending" or left <= 0:
                return JSONResponse(found)
            await _at_most(left, moved)

    async def webhook(self, request: Request) -> Response:
        """What the forge is to be told, the secret too; so the answer is kept nowhere."""
        found = await self._store.get(Repository, request.path_params["repository"])
        hook = found.record.hook if found and found.record.project else ""
        forge = found.record.forge if found else ""
        return JSONResponse(self._forges.webhook(hook, forge), headers={"Cache-Control": "no-store"})

    def _acting(self, kind: type[Event]) -> Callable[[Request], Awaitable[Response]]:
        async def act(request: Request) -> Response:
            body = await read_body(request)
            wish = asking.wish(kind, body, key=request.headers.get("idempotency-key", ""), actor=actor_of(request))
            if await asking.taken(self._store, wish):
                return accepted(wish.id)
            event = actions.read_command(kind, body, id=wish.id, actor=actor_of(request))
            if isinstance(event, AdoptRequested) and event.running:
                event = await adoptions.read(self._store.bus, event)
            if isinstance(event, LinkRequested):
                event = actions.link(self._forges, event)
            if isinstance(event, DeployRequested):
                event = await asyncio.to_thread(actions.resolved, self._db, event, principal_of(request))
            await admit(self._store, self._db, event)
            await asking.publish(self._store, event, wish)
            return accepted(event.id)

        return act

    async def settle_parked(self, request: Request) -> Response:
        verb, wanted = request.path_params["verb"], request.path_params["id"]
        if verb not in {"retry", "drop"}:
            raise HTTPException(404)
        await actions.settle_parked(self._store, wanted, retry=verb == "retry")
        return JSONResponse({"id": wanted, "status": "retried" if verb == "retry" else "dropped"}, 202)


def _wait(request: Request) -> float:
    return min(float(given.whole(request, "wait", 0, 3600)), LONGEST_WAIT)


def _last_id(request: Request) -> str:
    return request.headers.get("last-event-id", "")


def _after(request: Request) -> tuple[str, ...] | None:
    return paging.place(request.query_params.get("cursor", ""), 2)


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
