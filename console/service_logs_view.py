"""``GET /v1/services/{id}/logs``: the lines that a query chooses, as a stream; all who follow share one reader."""

from __future__ import annotations

import asyncio
import functools
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from console import given, queries, streams
from console.projection import Projection
from console.service_carrier import Following, Wish
from console.service_feed import Feeds
from console.service_logs import Choice, service_lines
from gitops.clusters import ServiceRef
from pipeline.errors import Invalid
from pipeline.names import split_service_id
from pipeline.records import Live

TAIL_LIMIT: Final = 10_000


class LogsView:
    """The handler."""

    def __init__(self, db: Projection, feeds: Feeds, stopping: asyncio.Event) -> None:
        self._db = db
        self._feeds = feeds
        self._stopping = stopping

    async def answer(self, request: Request) -> Response:
        """Raises Invalid, NotFound."""
        project, service = split_service_id(request.path_params["id"])
        environment, release = (request.query_params.get(name, "") for name in ("environment", "release"))
        await asyncio.to_thread(queries.check_scope, self._db, project, environment, service)
        if not environment:
            raise Invalid("environment: which one?", reason="no_environment")
        tail, since, until = (
            given.whole(request, "tail", 100, TAIL_LIMIT), given.moment(request, "since"),
            given.moment(request, "until"),
        )  # fmt: skip
        if release:
            await asyncio.to_thread(queries.known_release, self._db, queries.release_named(project, service, release))
        dead = functools.partial(queries.dead_lines, self._db, project, environment, service, release)
        if given.flag(request, "previous"):
            kept = await asyncio.to_thread(dead)
            return streams.response(streams.kept_lines(kept[-tail:] if tail else []), self._stopping)
        live = await asyncio.to_thread(self._db.get, Live, project, environment, service)
        ref, choice = ServiceRef(project, environment, service), Choice(tail, since, until, release)
        last_id = request.headers.get("last-event-id", "")
        if not given.flag(request, "follow") or until:
            lines = service_lines(self._feeds.logs, ref, choice, last_id, dead=dead)
            return streams.response(lines, self._stopping)
        wish = Wish(ref, choice, last_id, dead=dead if live is None or not live.replicas else None)
        return Following(self._feeds, wish, self._stopping)
