"""Secrets over the API: the key to seal to, a sealed value handed on, and what is set; never a value.

The caller seals, the process with the cluster's credentials opens, and what passes here is readable by neither this
process nor anything that it writes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import asking, queries
from console.asking import Wish
from console.bearer import actor_of
from console.bodies import accepted, read_body
from console.projection import Projection
from pipeline.errors import Invalid, Refused, Unavailable
from pipeline.events import SecretChanged
from pipeline.names import name, split_service_id
from pipeline.records import Deployment, Live, Target
from pipeline.secret_requests import KEY_SUBJECT, STORE_SUBJECT, Reply, StoreSecret
from pipeline.servicefile import VARIABLE
from pipeline.store import Store, now

ANSWER_LIMIT = 20.0
SEALED_LIMIT = 48 << 10
_PLACE = ("project", "environment", "service", "name")


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
        return await key_of(self._store, KEY_SUBJECT)

    async def keep(self, request: Request) -> Response:
        body = await read_body(request)
        where = await asyncio.to_thread(self._place, body, "sealed", "why")
        wish = _wish(request, body)
        if known := await asking.taken(self._store, wish):  # an answer got lost: the value is stored already
            return accepted(wish.id, version=msgspec.json.decode(known.data, type=SecretChanged).number)
        after = await asyncio.to_thread(_highest, self._db, where)
        asked = StoreSecret(**where, sealed=sealed_bytes(body.get("sealed")), after=after)
        reply = await ask(self._store, STORE_SUBJECT, msgspec.json.encode(asked))
        await self._publish(request, wish, where, number=reply.number, why=str(body.get("why") or ""))
        return accepted(wish.id, version=reply.number)

    async def unset(self, request: Request) -> Response:
        body = await read_body(request)
        where = await asyncio.to_thread(self._place, body, "why")
        wish = _wish(request, body)
        if not await asking.taken(self._store, wish):
            await self._publish(request, wish, where, number=0, why=str(body.get("why") or ""))
        return accepted(wish.id)

    def listed(self, request: Request) -> Response:
        project, service = split_service_id(request.path_params["id"])
        environment = request.query_params.get("environment", "")
        queries.check_scope(self._db, project, environment, "")
        if not environment:
            raise Invalid("environment: which one?", reason="no_environment")
        return JSONResponse({"secrets": secrets_of(self._db, project, environment, service)})

    def _place(self, body: Mapping[str, Any], *beside: str) -> dict[str, str]:
        found = place_of(body, _PLACE, beside=beside)
        queries.known_environment(self._db, found["project"], found["environment"])
        return found

    async def _publish(self, request: Request, wish: Wish, where: Mapping[str, str], *, number: int, why: str) -> None:
        event = SecretChanged(id=wish.id, at=now(), actor=actor_of(request), number=number, why=why, **where)
        await asking.publish(self._store, event, wish)


async def key_of(store: Store, subject: str) -> Response:
    """The public key to seal to, of the process that listens there. Raises Unavailable, Refused."""
    reply = await ask(store, subject, b"")
    return JSONResponse({"key": base64.b64encode(reply.key).decode(), "algorithm": "X25519"})


def place_of(body: Mapping[str, Any], fields: Sequence[str], *, beside: Sequence[str]) -> dict[str, str]:
    """The fields that say which secret is meant; the body has no others than these and ``beside``. Raises Invalid."""
    if unknown := body.keys() - {*fields, *beside}:
        raise Invalid(f"unknown field {min(unknown)[:60]!r}", reason="unknown_field")
    if any(not isinstance(body.get(key), str) for key in fields):
        raise Invalid(f"{', '.join(fields[:-1])} and {fields[-1]} are texts", reason="bad_field")
    found = {key: str(body[key]) for key in fields}
    name(found["service"], what="service")
    if not VARIABLE.fullmatch(found["name"]):
        raise Invalid("a secret is named like a variable, as DATABASE_URL is", reason="bad_name")
    return found


async def ask(store: Store, subject: str, data: bytes) -> Reply:
    """What the keeper of secrets answers. Raises Unavailable, Refused."""
    answer = await store.bus.ask(subject, data, timeout=ANSWER_LIMIT)
    reply = msgspec.json.decode(answer, type=Reply)
    if reply.reason:
        raise (Unavailable if reply.retry else Refused)(reply.message, reason=reply.reason)
    return reply


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


def _wish(request: Request, body: Mapping[str, Any]) -> Wish:
    key = request.headers.get("idempotency-key", "")
    return asking.wish(SecretChanged, body, key=key, actor=actor_of(request))


def _highest(db: Projection, where: Mapping[str, str]) -> int:
    """No number is given twice, also when the cluster has forgotten it: git may come back to it."""
    project, environment, service = (where[key] for key in ("project", "environment", "service"))
    target = db.get(Target, project, environment, service)
    found = [one.version for one in target.secrets.values()] if target else []
    past = db.find(Deployment, project=project, environment=environment, service=service)
    return max([0, *found, *(number for one in past for number in one.secrets.values())])


def sealed_bytes(value: Any) -> bytes:
    """What was sealed, out of a body. Raises Invalid."""
    try:
        sealed = base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Invalid("sealed: base64 of what was sealed to the key in /v1/secrets/key", reason="bad_field") from None
    if len(sealed) > SEALED_LIMIT:
        raise Invalid("the value is larger than 32 KiB", reason="bad_value")
    return sealed
