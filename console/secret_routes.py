"""Secrets over the API: the key to seal to, a sealed value handed on, and what is set; never a value.

The caller seals, the process with the cluster's credentials opens, and what passes here is readable by neither this
process nor anything that it writes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import actions, queries
from console.bearer import actor_of
from console.bodies import accepted, read_body
from console.projection import Projection
from pipeline.errors import Conflict, Invalid, Refused, Unavailable
from pipeline.events import SecretChanged
from pipeline.names import name, split_service_id, token
from pipeline.records import Deployment, Live, Target
from pipeline.secret_requests import KEY_SUBJECT, STORE_SUBJECT, Reply, StoreSecret
from pipeline.servicefile import VARIABLE
from pipeline.store import Store, now

ANSWER_LIMIT = 20.0
SEALED_LIMIT = 48 << 10
_PLACE = frozenset({"project", "environment", "service", "name"})


class SecretRoutes:
    """The handlers."""

    def __init__(self, db: Projection, store: Store) -> None:
        self._db = db
        self._store = store

    def routes(self) -> list[Route]:
        return [
            Route("/v1/secrets/key", self.key, methods=["GET"]),
            Route("/v1/secrets", self.keep, methods=["POST"]),
            Route("/v1/secrets/unset", self.unset, methods=["POST"]),
            Route("/v1/services/{id}/secrets", self.listed, methods=["GET"]),
        ]

    async def key(self, _: Request) -> Response:
        reply = await self._ask(KEY_SUBJECT, b"")
        return JSONResponse({"key": base64.b64encode(reply.key).decode(), "algorithm": "X25519"})

    async def keep(self, request: Request) -> Response:
        body = await read_body(request)
        where = await asyncio.to_thread(self._place, body, _PLACE | {"sealed", "why"})
        command = _command(request, where)
        if known := await self._asked_before(command, where):  # an answer got lost: the value is stored already
            return accepted(command, version=known)
        after = await asyncio.to_thread(_highest, self._db, where)
        asked = StoreSecret(**where, sealed=_sealed(body.get("sealed")), after=after)
        reply = await self._ask(STORE_SUBJECT, msgspec.json.encode(asked))
        await self._publish(actor_of(request), command, where, reply.number, str(body.get("why") or ""))
        return accepted(command, version=reply.number)

    async def unset(self, request: Request) -> Response:
        body = await read_body(request)
        where = await asyncio.to_thread(self._place, body, _PLACE | {"why"})
        command = _command(request, where)
        await self._publish(actor_of(request), command, where, 0, str(body.get("why") or ""))
        return accepted(command)

    def listed(self, request: Request) -> Response:
        project, service = split_service_id(request.path_params["id"])
        environment = request.query_params.get("environment", "")
        queries.check_scope(self._db, project, environment, "")
        if not environment:
            raise Invalid("environment: which one?", reason="no_environment")
        return JSONResponse({"secrets": secrets_of(self._db, project, environment, service)})

    def _place(self, body: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, str]:
        if unknown := body.keys() - allowed:
            raise Invalid(f"unknown field {min(unknown)[:60]!r}", reason="unknown_field")
        where = {key: body.get(key) for key in _PLACE}
        if any(not isinstance(text, str) for text in where.values()):
            raise Invalid("project, environment, service and name are texts", reason="bad_field")
        found = {key: str(text) for key, text in where.items()}
        name(found["service"], what="service")
        if not VARIABLE.fullmatch(found["name"]):
            raise Invalid("a secret is named like a variable: DATABASE_URL", reason="bad_name")
        queries.known_environment(self._db, found["project"], found["environment"])
        return found

    async def _ask(self, subject: str, data: bytes) -> Reply:
        answer = await self._store.bus.ask(subject, data, timeout=ANSWER_LIMIT)
        reply = msgspec.json.decode(answer, type=Reply)
        if reply.reason:
            raise (Unavailable if reply.retry else Refused)(reply.message, reason=reply.reason)
        return reply

    async def _asked_before(self, command: str, where: Mapping[str, str]) -> int:
        entry = await self._store.bus.get(f"ev.{SecretChanged.type}.{token(command)}")
        if entry is None:
            return 0
        known = msgspec.json.decode(entry.data, type=SecretChanged)
        if any(getattr(known, key) != text for key, text in where.items()):
            raise Conflict("this Idempotency-Key was used for another request", reason="key_reused")
        return known.number

    async def _publish(self, actor: str, command: str, where: Mapping[str, str], number: int, why: str) -> None:
        event = SecretChanged(id=command, at=now(), actor=actor, number=number, why=why, **where)
        await actions.publish(self._store, event)


def secrets_of(db: Projection, project: str, environment: str, service: str) -> list[dict[str, Any]]:
    """What is set of a service: names and versions, and which version the running deployment has."""
    target = db.get(Target, project, environment, service)
    live = db.get(Live, project, environment, service)
    running = db.get(Deployment, live.deployment) if live and live.deployment else None
    used = running.secrets if running else {}
    wanted = target.secrets if target else {}
    return [
        {
            "name": key,
            "version": wanted[key].version if key in wanted else None,
            "live": used.get(key),
            "by": wanted[key].by if key in wanted else "",
            "at": wanted[key].at if key in wanted else "",
        }
        for key in sorted({*wanted, *used})
    ]


def _command(request: Request, where: Mapping[str, str]) -> str:
    key = request.headers.get("idempotency-key", "")
    return actions.command_id(key, actor=actor_of(request), project=where["project"])


def _highest(db: Projection, where: Mapping[str, str]) -> int:
    """No number is given twice, also when the cluster has forgotten it: git may come back to it."""
    project, environment, service = (where[key] for key in ("project", "environment", "service"))
    target = db.get(Target, project, environment, service)
    found = [one.version for one in target.secrets.values()] if target else []
    past = db.find(Deployment, project=project, environment=environment, service=service)
    return max([0, *found, *(number for one in past for number in one.secrets.values())])


def _sealed(value: Any) -> bytes:
    try:
        sealed = base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Invalid("sealed: base64 of what was sealed to the key in /v1/secrets/key", reason="bad_field") from None
    if len(sealed) > SEALED_LIMIT:
        raise Invalid("the value is larger than 32 KiB", reason="bad_value")
    return sealed
