"""Tokens and who one is, over the API."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import sight
from console.authority import Authority, Where, principal_of
from console.bodies import read_body
from console.origins import origin_of
from console.projection import Projection
from console.tokens import Tokens, not_yours, owned
from pipeline.access import Grant, Principal
from pipeline.errors import Invalid
from pipeline.principals import Token
from pipeline.records import Project
from pipeline.token_text import lasts

DEFAULT_SECONDS: Final = 90 * 86_400
_FIELDS: Final = frozenset({"name", "role", "project", "environment", "expires_in"})


class TokenRoutes:
    """The handlers."""

    def __init__(self, tokens: Tokens, authority: Authority, db: Projection) -> None:
        self._tokens = tokens
        self._authority = authority
        self._db = db

    def routes(self) -> list[Route]:
        return [
            Route("/v1/whoami", self.whoami, methods=["GET"]),
            Route("/v1/tokens", self.listed, methods=["GET"]),
            Route("/v1/tokens", self.create, methods=["POST"]),
            Route("/v1/tokens/{id}/revoke", self.revoke, methods=["POST"]),
        ]

    def whoami(self, request: Request) -> Response:
        who = principal_of(request)
        return JSONResponse({"name": who.name, "groups": list(who.groups), "roles": self._roles(who)})

    def listed(self, request: Request) -> Response:
        return JSONResponse({"tokens": self.shown(request)})

    def shown(self, request: Request) -> list[dict[str, Any]]:
        """One's own tokens, and those that one rules."""
        who = principal_of(request)
        return [view(one) for one in self._tokens.listed() if owned(one, by=who.name) or self._rules(who, one)]

    async def create(self, request: Request) -> Response:
        """The text is in this answer and nowhere else."""
        made = await self.made(request, await read_body(request))
        return JSONResponse(made, 201, headers={"Cache-Control": "no-store"})

    async def made(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """A new token as it is shown, with its text. Raises Invalid."""
        if unknown := body.keys() - _FIELDS:
            raise Invalid(f"unknown field {min(unknown)[:60]!r}", reason="unknown_field")
        grant = _grant(body)
        seconds = body.get("expires_in") or DEFAULT_SECONDS
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            raise Invalid("expires_in: seconds", reason="bad_field")
        name = str(body.get("name") or "")
        who = Principal(name=f"token:{name}", grants=(grant,), listed=False)
        maker = principal_of(request)
        # What a program's token makes ends with it; a person's own tokens outlast a login, as people expect.
        origin = "" if maker.listed else origin_of(request)
        text, token = await self._tokens.create(
            name=name, who=who, by=maker.name, seconds=float(seconds), origin=origin
        )
        return {**view(token), "token": text}

    async def revoke(self, request: Request) -> Response:
        return JSONResponse(await self.ended(request))

    async def ended(self, request: Request) -> dict[str, Any]:
        """The token of the address, ended. Raises NotFound, Denied, Conflict."""
        who = principal_of(request)
        token = await self._tokens.get(request.path_params["id"])
        if not (owned(token, by=who.name) or self._rules(who, token)):
            raise not_yours()
        return view(await self._tokens.revoke(token.id, by=who.name))

    def _rules(self, who: Principal, token: Token) -> bool:
        """Whether somebody is an admin wherever the token counts."""
        places: list[Where] = [(grant.project, grant.environment) for grant in token.who.grants] or [("", "")]
        return all(self._authority.allows(who, "admin", where) for where in places)

    def _roles(self, who: Principal) -> list[dict[str, str]]:
        everywhere = self._authority.role(who, ("", ""))
        found = [{"project": "", "environment": "", "role": everywhere}] if everywhere else []
        for project in self._db.find(Project):
            for name in ("", *(one.name for one in project.environments if sight.sees(project.slug, one.name))):
                if role := self._authority.role(who, (project.slug, name)):
                    found.append({"project": project.slug, "environment": name, "role": role})
        return found


def view(token: Token) -> dict[str, Any]:
    """What may be shown of a token."""
    return {
        "id": token.id,
        "name": token.name,
        "grants": [
            {"role": one.role, "project": one.project, "environment": one.environment} for one in token.who.grants
        ],
        "acts_as": token.who.name,
        "by": token.by,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "used_at": token.used_at,
        "revoked_at": token.revoked_at,
        "active": lasts(token),
    }


def _grant(body: dict[str, Any]) -> Grant:
    fields = {name: body.get(name) or "" for name in ("role", "project", "environment")}
    if fields["environment"] and not fields["project"]:
        raise Invalid("environment: of which project?", reason="bad_field")
    try:
        return msgspec.convert(fields, type=Grant)
    except msgspec.ValidationError:
        raise Invalid("role: viewer, deployer or admin; project and environment: texts", reason="bad_field") from None
