"""The audit over the API."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import paging
from console.audit import COLUMNS, Audit
from console.authority import principal_of
from pipeline.errors import Invalid

MOST = 200


class AuditRoutes:
    """The handler."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def routes(self) -> list[Route]:
        return [Route("/v1/audit", self.listed, methods=["GET"])]

    async def listed(self, request: Request) -> Response:
        query = request.query_params
        place = paging.place(query.get("cursor", ""), 1)
        text = query.get("limit", "") or "50"
        if not (text.isascii() and text.isdecimal() and len(text) < 10) or (place and not place[0].isdecimal()):
            raise Invalid("limit: a whole number; cursor: one that an answer's next gave", reason="bad_field")
        wanted = {name: query.get(name, "") for name in COLUMNS}
        found, before = await asyncio.to_thread(
            self._audit.page, limit=min(max(int(text), 1), MOST), before=int(place[0][:18]) if place else 0,
            own=principal_of(request).name, **wanted,
        )  # fmt: skip
        return JSONResponse({"audit": found, **paging.following((str(before),) if before else None)})
