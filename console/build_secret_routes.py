"""Secrets of builds over the API: the builder's key, a sealed value handed on, and the names that are set."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import queries
from console.bodies import read_body
from console.projection import Projection
from console.secret_routes import ANSWER_LIMIT, ask, key_of, place_of, sealed_bytes
from pipeline.build_secrets import (
    KEEP_SUBJECT,
    KEY_SUBJECT,
    LIST_SUBJECT,
    BuildSecretsOf,
    KeepBuildSecret,
    KeptBuildSecrets,
)
from pipeline.errors import Refused
from pipeline.names import split_service_id
from pipeline.store import Store

_PLACE = ("project", "service", "name")


class BuildSecretRoutes:
    """The handlers."""

    def __init__(self, db: Projection, store: Store) -> None:
        self._db = db
        self._store = store

    def routes(self) -> list[Route]:
        return [
            Route("/v1/build-secrets/key", self.key, methods=["GET"]),
            Route("/v1/build-secrets", self.keep, methods=["POST"]),
            Route("/v1/build-secrets/unset", self.unset, methods=["POST"]),
            Route("/v1/services/{id}/build-secrets", self.listed, methods=["GET"]),
        ]

    async def key(self, _: Request) -> Response:
        return await key_of(self._store, KEY_SUBJECT)

    async def keep(self, request: Request) -> Response:
        body = await read_body(request)
        where = await asyncio.to_thread(self._place, body, "sealed")
        return await self._kept(where, sealed_bytes(body.get("sealed")))

    async def unset(self, request: Request) -> Response:
        body = await read_body(request)
        return await self._kept(await asyncio.to_thread(self._place, body), b"")

    async def _kept(self, where: dict[str, str], sealed: bytes) -> Response:
        asked = KeepBuildSecret(project=where["project"], service=where["service"], name=where["name"], sealed=sealed)
        await ask(self._store, KEEP_SUBJECT, msgspec.json.encode(asked))
        return JSONResponse(where)

    async def listed(self, request: Request) -> Response:
        project, service = split_service_id(request.path_params["id"])
        await asyncio.to_thread(queries.check_scope, self._db, project, "", "")
        question = msgspec.json.encode(BuildSecretsOf(project=project, service=service))
        answer = await self._store.bus.ask(LIST_SUBJECT, question, timeout=ANSWER_LIMIT)
        found = msgspec.json.decode(answer, type=KeptBuildSecrets)
        if found.reason:
            raise Refused(found.message, reason=found.reason)
        return JSONResponse({"secrets": msgspec.to_builtins(found.secrets)})

    def _place(self, body: Mapping[str, Any], *beside: str) -> dict[str, str]:
        where = place_of(body, _PLACE, beside=beside)
        queries.check_scope(self._db, where["project"], "", "")
        return where
