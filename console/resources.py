"""Lists of what is stored, page by page: deployments, decisions, holds, environments, queues and workers."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import given, overview, paging, pushes, queries
from console.projection import Projection
from console.queries import Value, plain
from pipeline.bus import Bus
from pipeline.names import service_id, split_service_id
from pipeline.queues import queues
from pipeline.record import Record
from pipeline.records import BuilderState, Decision, Deployment, Target

R = TypeVar("R", bound=Record)
PAGE: Final = 50


class Resources:
    """The handlers."""

    def __init__(self, db: Projection, bus: Bus) -> None:
        self._db = db
        self._bus = bus

    def routes(self) -> list[Route]:
        handlers = {
            "/v1/projects/{slug}": self.project,
            "/v1/projects/{slug}/environments": self.environments,
            "/v1/projects/{slug}/pushes": self.pushes,
            "/v1/services/{id}": self.service,
            "/v1/releases/{id}": self.release,
            "/v1/deployments": self.deployments,
            "/v1/decisions": self.decisions,
            "/v1/deliveries": self.deliveries,
            "/v1/holds": self.holds,
            "/v1/queue": self.queue,
            "/v1/workers": self.workers,
        }
        return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items()]

    def project(self, request: Request) -> Response:
        return JSONResponse(queries.project(self._db, request.path_params["slug"]))

    def environments(self, request: Request) -> Response:
        found = queries.known_project(self._db, request.path_params["slug"])
        shown = [plain(one) | {"project": found.slug} for one in found.environments]
        return JSONResponse({"environments": shown})

    def pushes(self, request: Request) -> Response:
        """What was pushed and is not planned yet."""
        now = datetime.datetime.now(datetime.UTC)
        return JSONResponse(pushes.waiting(self._db, request.path_params["slug"], now))

    def service(self, request: Request) -> Response:
        project, name = split_service_id(request.path_params["id"])
        shown = overview.status(self._db, project, "", name)["services"]
        return JSONResponse({"id": service_id(project, name), "project": project, "name": name, "environments": shown})

    def release(self, request: Request) -> Response:
        found = queries.known_release(self._db, request.path_params["id"])
        return JSONResponse(queries.release_view(self._db, found))

    def deployments(self, request: Request) -> Response:
        found, following = page(self._db, request, Deployment, ("status",))
        return JSONResponse({"deployments": [queries.deployment_view(self._db, one) for one in found], **following})

    def decisions(self, request: Request) -> Response:
        return self._decisions(request, "decisions", {})

    def deliveries(self, request: Request) -> Response:
        """What became of each delivery of a forge and each push: its decision."""
        return self._decisions(request, "deliveries", {"about": "delivery"})

    def _decisions(self, request: Request, name: str, such: Mapping[str, str]) -> Response:
        fields = ("about", "outcome", "reason", "actor")
        found, following = page(self._db, request, Decision, fields, such)
        return JSONResponse({name: [plain(one) for one in found], **following})

    def holds(self, request: Request) -> Response:
        project, environment, service = _place(self._db, request)
        targets = self._db.find(Target, project=project, environment=environment, service=service)
        return JSONResponse({"holds": [_hold(one) for one in targets if one.held]})

    async def queue(self, _: Request) -> Response:
        now = datetime.datetime.now(datetime.UTC)
        shown = [
            {"stage": one.stage, "stream": one.stream, "waiting": one.waiting, "in_hand": one.in_hand,
             "oldest_seconds": round(one.age(now), 3)}
            for one in await queues(self._bus)
        ]  # fmt: skip
        return JSONResponse({"queue": shown})

    def workers(self, _: Request) -> Response:
        return JSONResponse({"workers": [plain(one) for one in self._db.find(BuilderState)]})


def page(
    db: Projection, request: Request, kind: type[R], fields: tuple[str, ...], such: Mapping[str, str] = {}
) -> tuple[list[R], dict[str, str]]:
    """A page of records as the query asks for it, and ``next``. Raises Invalid, NotFound."""
    project, environment, service = _place(db, request)
    release = request.query_params.get("release", "")
    asked = {field: text for field in fields if (text := request.query_params.get(field, ""))}
    after = paging.place(request.query_params.get("cursor", ""), 2)
    limit = given.limit(request, PAGE)
    found, following = db.page(
        kind, limit=limit, after=after, such={**asked, **such},
        project=project, environment=environment, service=service, release=release,
    )  # fmt: skip
    return found, paging.following(following)


def _place(db: Projection, request: Request) -> tuple[str, str, str]:
    place = given.scope(request)
    queries.check_scope(db, *place)
    return place


def _hold(target: Target) -> Value:
    waiting = target.held_release.rpartition(".")[2]
    return {
        "project": target.project, "environment": target.environment, "service": target.service,
        "by": target.hold_by, "reason": target.hold_reason, "since": target.hold_since,
        "from": target.hold_from.rpartition(".")[2], "waiting": waiting,
    }  # fmt: skip
