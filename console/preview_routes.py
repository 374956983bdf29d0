"""The addresses of previews: the list, what somebody asks for, and the approval of a fork's commit."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import actions, asking, previews
from console.bearer import actor_of
from console.bodies import accepted, read_body
from console.projection import Projection
from pipeline.events import PreviewRequested
from pipeline.store import Store


class PreviewRoutes:
    """The handlers with their ports."""

    def __init__(self, db: Projection, store: Store) -> None:
        self._db, self._store = db, store

    def routes(self) -> list[Route]:
        """The addresses."""
        return [
            Route("/v1/previews", self.previews, methods=["GET"]),
            Route("/v1/previews", self.ask, methods=["POST"]),
            Route("/v1/previews/approvals", self.approve, methods=["POST"]),
        ]

    def previews(self, request: Request) -> Response:
        query = request.query_params
        every = query.get("all", "") in ("1", "true")
        return JSONResponse({"previews": previews.previews(self._db, query.get("project", ""), every=every)})

    async def ask(self, request: Request) -> Response:
        return await self._asked(request, approval=False)

    async def approve(self, request: Request) -> Response:
        return await self._asked(request, approval=True)

    async def _asked(self, request: Request, *, approval: bool) -> Response:
        body = {"repository": "", **await read_body(request)} | ({"verb": "approve"} if approval else {})
        key, actor = request.headers.get("idempotency-key", ""), actor_of(request)
        wish = asking.wish(PreviewRequested, body, key=key, actor=actor)
        if await asking.taken(self._store, wish):
            return accepted(wish.id)
        event = actions.read_command(PreviewRequested, body, id=wish.id, actor=actor)
        assert isinstance(event, PreviewRequested)
        event = await asyncio.to_thread(previews.asked, self._db, event, approval=approval)
        await asking.publish(self._store, event, wish)
        return accepted(event.id)
