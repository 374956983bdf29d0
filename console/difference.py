"""The API's answer to "what would an apply change": asked of the syncer, which asks the cluster by a dry run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from console import queries
from console.projection import Projection
from gitops.clusters import ServiceRef
from pipeline.errors import Invalid
from pipeline.names import split_service_id

Ask = Callable[[ServiceRef], Awaitable[tuple[str, ...]]]


class DifferenceView:
    """``GET /v1/services/{id}/diff?environment=``."""

    def __init__(self, db: Projection, ask: Ask) -> None:
        self._db = db
        self._ask = ask

    async def answer(self, request: Request) -> Response:
        """The lines: ``+`` an object that would be made, ``-`` one that would be deleted, ``~`` a field."""
        project, service = split_service_id(request.path_params["id"])
        environment = request.query_params.get("environment", "")
        await asyncio.to_thread(queries.check_scope, self._db, project, environment, service)
        if not environment:
            raise Invalid("environment: which one?", reason="no_environment")
        lines = await self._ask(ServiceRef(project, environment, service))
        place = {"project": project, "environment": environment, "service": service}
        return JSONResponse({**place, "changes": list(lines)})
