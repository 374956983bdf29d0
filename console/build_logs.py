"""``GET /v1/runs/{id}/logs``: a build's lines, stored or live; a live log is read once for all who follow it."""

from __future__ import annotations

import asyncio
import functools

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console import given, queries, streams
from console.fanout import Fanout, Shared
from console.projection import Projection
from pipeline.bus import Bus
from pipeline.errors import Invalid


class BuildLogs:
    """The handler."""

    def __init__(self, db: Projection, bus: Bus, stopping: asyncio.Event) -> None:
        self._db = db
        self._bus = bus
        self._stopping = stopping
        self._fanout = Fanout()

    def routes(self) -> list[Route]:
        return [Route("/v1/runs/{id}/logs", self.lines, methods=["GET"])]

    async def lines(self, request: Request) -> Response:
        run, service = request.path_params["id"], request.query_params.get("service", "")
        known = [job["service"] for job in (await asyncio.to_thread(queries.run, self._db, run))["jobs"]]
        service = service or (known[0] if len(known) == 1 else "")
        if service not in known:
            raise Invalid(f"service: one of {', '.join(known) or 'none yet'}", reason="no_such_job")
        last_id, follow, key = (
            request.headers.get("last-event-id", ""),
            given.flag(request, "follow"),
            f"{run}/{service}",
        )
        last = streams.two_numbers(last_id)
        read = functools.partial(streams.build_lines, self._bus, self._db, run, service, follow=follow)
        if follow and self._fanout.fits(key):
            return Shared(self._fanout, key, functools.partial(read, last_id=""), last, self._stopping)
        return streams.response(read(last_id=last_id), self._stopping)
