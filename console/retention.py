"""``GET /v1/retention``: what the registry would keep and shed, as the planner answers, which would carry it out."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipeline.errors import Unavailable
from pipeline.records import Job, JobStatus
from pipeline.retention_plan import LIMIT, SUBJECT, RetentionPlan
from pipeline.store import Store

WAIT = LIMIT + 5.0
STORING: frozenset[JobStatus] = frozenset({"queued", "building", "signing"})
"""What a job does while blobs of it lie in the registry that no manifest names yet."""


class RetentionView:
    """The handlers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def storing(self, _: Request) -> Response:
        """How many jobs are on their way into the registry, from the stream itself: the projection may be behind."""
        return JSONResponse({"jobs": sum(job.status in STORING for job in await self._store.all(Job))})

    async def answer(self, _: Request) -> Response:
        """The plan. Raises Unavailable when the planner, or the registry behind it, does not answer."""
        data = await self._store.bus.ask(SUBJECT, b"", timeout=WAIT)
        plan = msgspec.json.decode(data, type=RetentionPlan)
        if plan.reason:
            raise Unavailable(plan.message, reason=plan.reason)
        return Response(data, media_type="application/json")
