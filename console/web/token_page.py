"""The page of tokens and of the identity provider: what there is, and the forms that make and end a token."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from console.identity.provider import Provider
from console.token_routes import TokenRoutes
from console.web.rendering import render
from console.web.security import read_form
from pipeline.errors import EncliiError, Invalid

DAY: Final = 86_400
ASK_LIMIT: Final = 3.0


class TokenPage:
    """The handlers."""

    def __init__(self, tokens: TokenRoutes, provider: Provider | None) -> None:
        self._tokens = tokens
        self._provider = provider

    def routes(self) -> list[Route]:
        return [
            Route("/tokens", self.show, methods=["GET"]),
            Route("/tokens", self.create, methods=["POST"]),
            Route("/tokens/{id}/revoke", self.revoke, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        return await self._shown(request, made=None)

    async def create(self, request: Request) -> Response:
        """The text of the new token is in this answer and nowhere else."""
        fields: dict[str, Any] = {name: value for name, value in (await read_form(request)).items() if value}
        days = str(fields.pop("days", "90"))
        if not (days.isascii() and days.isdecimal() and len(days) < 4):
            raise Invalid("days: from 1 to 366", reason="bad_field")
        made = await self._tokens.made(request, {**fields, "expires_in": int(days) * DAY})
        return await self._shown(request, made=made)

    async def revoke(self, request: Request) -> Response:
        await read_form(request)
        await self._tokens.ended(request)
        return RedirectResponse("/tokens", 303)

    async def _shown(self, request: Request, made: dict[str, Any] | None) -> Response:
        tokens = await asyncio.to_thread(self._tokens.shown, request)
        return render(request, "tokens.html", tokens=tokens, made=made, provider=await self._told())

    async def _told(self) -> dict[str, str] | None:
        """The provider's address, and whether it answers now."""
        if self._provider is None:
            return None
        issuer = self._provider.issuer
        try:
            async with asyncio.timeout(ASK_LIMIT):
                await issuer.metadata()
        except TimeoutError:
            return {"issuer": issuer.url, "state": "error", "message": "it does not answer in time"}
        except EncliiError as error:
            return {"issuer": issuer.url, "state": "error", "message": error.message}
        return {"issuer": issuer.url, "state": "ok", "message": "it answers"}
