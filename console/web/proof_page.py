"""Whether a release is signed and proven, asked of the registry and of git when somebody wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console import queries
from console.projection import Projection
from console.texts import version
from console.web.pages import number
from console.web.places import Place
from console.web.rendering import render
from pipeline.errors import NotFound
from pipeline.names import release_id
from pipeline.records import Live

Verify = Callable[[str], Awaitable[dict[str, Any]]]
"""What the gate would say of a release now. Raises NotFound, Unavailable."""


class ProofPage:
    """The handler."""

    def __init__(self, db: Projection, verify: Verify) -> None:
        self._db, self._verify = db, verify

    def routes(self) -> list[Route]:
        return [Route("/services/{project}/{environment}/{service}/proof", self.proof, methods=["GET"])]

    async def proof(self, request: Request) -> Response:
        """The checks of the gate, made now, of ``release=v2`` or of what is live. Raises NotFound, Unavailable."""
        place = Place.of(request)
        await asyncio.to_thread(queries.check_scope, self._db, place.project, place.environment, place.service)
        found = await self._verify(self._wanted(place, number(request, "release", 0)))
        return render(request, "proof.html", place=place, found=found, version=version(found["release_id"]))

    def _wanted(self, place: Place, given: int) -> str:
        if given:
            return release_id(place.project, place.service, given)
        live = self._db.get(Live, place.project, place.environment, place.service)
        if live is None or not live.release:
            raise NotFound(f"nothing of a known release runs of {place.service}", reason="nothing_live")
        return live.release
