"""The page of the audit."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.audit import COLUMNS, Audit
from console.authority import principal_of
from console.web.rendering import render
from pipeline.errors import Invalid

PAGE = 100


class AuditPage:
    """The handler."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def routes(self) -> list[Route]:
        return [Route("/audit", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        before = request.query_params.get("before", "") or "0"
        if not (before.isascii() and before.isdecimal() and len(before) < 18):
            raise Invalid("before: a whole number", reason="bad_field")
        wanted = {name: request.query_params.get(name, "").strip() for name in COLUMNS}
        found, more = await asyncio.to_thread(
            self._audit.page, limit=PAGE, before=int(before), own=principal_of(request).name, **wanted
        )
        return render(
            request, "audit.html", entries=found, more=more, wanted=wanted, live="" if int(before) else "/live"
        )
