"""``enclii exec`` over the API: a command is opened, typed to by numbered POSTs, and its output is a stream of events.

Two plain requests in place of a WebSocket: they pass every proxy that passes the rest of the API, each has a deadline
of its own, and one whose answer was lost is repeated. What is typed and printed passes through and is kept nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from console import queries, streams
from console.bearer import actor_of
from console.bodies import read_body
from console.projection import Projection
from gitops.clusters.exec_relay import PIECE, Ask, Batch, Commands, Fetch, Piece
from pipeline.errors import Invalid, NotFound
from pipeline.names import split_service_id
from pipeline.records import Live

WORDS_LIMIT = 32 << 10
MOST_CHARACTERS = 2_000
_OPEN = frozenset({"environment", "command", "replica", "terminal"})
_PIECE = frozenset({"number", "data", "ended", "terminal"})


class ExecRoutes:
    """The handlers."""

    def __init__(self, db: Projection, commands: Commands, stopping: asyncio.Event) -> None:
        self._db = db
        self._commands = commands
        self._stopping = stopping

    def routes(self) -> list[Route]:
        return [
            Route("/v1/services/{id}/exec", self.open, methods=["POST"]),
            Route("/v1/exec/{session}/input", self.type, methods=["POST"]),
            Route("/v1/exec/{session}/output", self.output, methods=["GET"]),
            Route("/v1/exec/{session}/end", self.end, methods=["POST"]),
        ]

    async def open(self, request: Request) -> Response:
        body = await _body(request, _OPEN)
        project, service = split_service_id(request.path_params["id"])
        environment, replica = _text(body, "environment"), _text(body, "replica")
        if not environment:
            raise Invalid("environment: which one?", reason="no_environment")
        await asyncio.to_thread(queries.check_scope, self._db, project, environment, service)
        rows, columns = _size(body.get("terminal"))
        asked = Ask(
            actor=actor_of(request), project=project, environment=environment, service=service,
            command=_command(body.get("command")), rows=rows, columns=columns,
            replica=await asyncio.to_thread(replica_named, self._db, (project, environment, service), replica),
        )  # fmt: skip
        return JSONResponse({"session": await self._commands.open(asked)}, 201)

    async def type(self, request: Request) -> Response:
        body = await _body(request, _PIECE)
        number, ended = body.get("number"), body.get("ended", False)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1 or not isinstance(ended, bool):
            raise Invalid("number: 1, 2, 3 …; ended: true or false", reason="bad_field")
        rows, columns = _size(body.get("terminal"))
        piece = Piece(
            session=request.path_params["session"], actor=actor_of(request), number=number,
            data=_bytes(body.get("data", "")), ended=ended, rows=rows, columns=columns,
        )  # fmt: skip
        await self._commands.type(piece)
        return JSONResponse({"number": number})

    async def output(self, request: Request) -> Response:
        after, _ = streams.two_numbers(request.headers.get("last-event-id", ""))
        first = Fetch(session=request.path_params["session"], actor=actor_of(request), after=after)
        return streams.response(_told(self._commands, first, await self._commands.fetch(first)), self._stopping)

    async def end(self, request: Request) -> Response:
        await self._commands.end(Fetch(session=request.path_params["session"], actor=actor_of(request)))
        return JSONResponse({"session": request.path_params["session"]})


async def _told(commands: Commands, fetch: Fetch, batch: Batch) -> AsyncIterator[ServerSentEvent]:
    """Batches as events, each with its number, until the command has exited."""
    while True:
        if batch.number > fetch.after:
            yield _event(batch)
            if batch.code is not None or batch.reason:
                yield ServerSentEvent("{}", event="end")
                return
        fetch = Fetch(session=fetch.session, actor=fetch.actor, after=batch.number)
        batch = await commands.fetch(fetch)


def _event(batch: Batch) -> ServerSentEvent:
    printed = [{"stream": one.stream, "data": base64.b64encode(one.data).decode()} for one in batch.printed]
    told = {"printed": printed, "code": batch.code, "reason": batch.reason, "message": batch.message}
    return ServerSentEvent(json.dumps(told), event="output", id=f"{batch.number}-0")


def replica_named(db: Projection, place: tuple[str, str, str], wanted: str) -> str:
    """The replica's own name, by that or as ``ps`` counts them (``web.2``, ``2``); "" for any. Raises NotFound."""
    live = db.get(Live, *place)
    names = [one.name for one in live.replicas] if live else []
    number = wanted.removeprefix(f"{place[2]}.")
    if not wanted or wanted in names:
        return wanted
    if number.isascii() and number.isdecimal() and len(number) < 6 and 1 <= int(number) <= len(names):
        return names[int(number) - 1]
    raise NotFound(f"no replica {wanted[:80]!r}: enclii ps shows those that run", reason="no_replica")


async def _body(request: Request, allowed: frozenset[str]) -> dict[str, Any]:
    body = await read_body(request)
    if unknown := body.keys() - allowed:
        raise Invalid(f"unknown field {min(unknown)[:60]!r}", reason="unknown_field")
    return body


def _text(body: Mapping[str, Any], key: str) -> str:
    found = body.get(key, "")
    if not isinstance(found, str):
        raise Invalid(f"{key}: a text", reason="bad_field")
    return found


def _command(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not found or not all(isinstance(word, str) for word in found):
        raise Invalid("command: a list of words", reason="bad_field")
    if not found[0] or any("\x00" in word for word in found) or sum(map(len, found)) > WORDS_LIMIT:
        raise Invalid("command: a program and its words, 32 KiB at most", reason="bad_field")
    return tuple(found)


def _size(found: Any) -> tuple[int, int]:
    """Rows and columns; 0 and 0 without a terminal."""
    if found is None:
        return 0, 0
    rows, columns = (found.get("rows"), found.get("columns")) if isinstance(found, dict) else (None, None)
    if type(rows) is int and type(columns) is int and min(rows, columns) > 0 and max(rows, columns) <= MOST_CHARACTERS:
        return rows, columns
    raise Invalid("terminal: {rows, columns}", reason="bad_field")


def _bytes(found: Any) -> bytes:
    try:
        data = base64.b64decode(found, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise Invalid("data: base64", reason="bad_field") from None
    if len(data) > PIECE:
        raise Invalid("data: 32 KiB at most in one piece", reason="bad_field")
    return data
