"""The webhooks' hot route, as plain ASGI: verify while it streams, store, and only then say 202.

What was answered with 202 is on the disk. A forge that gets anything else knows that nothing was taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ingest.forges import FORGES
from ingest.hooks import Forge, Secret, Verifier, deliveries_of
from pipeline import trace as traces
from pipeline.errors import Invalid, Retryable
from pipeline.events import Delivery
from pipeline.gathering import Gathering
from pipeline.names import run_id
from pipeline.origin import APP_HOOK
from pipeline.records import Decision, Run
from pipeline.store import Store, now

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Secrets = Callable[[str, str], Sequence[Secret] | None]
"""The secrets of a forge's hook; None when there is no such hook."""

BODY_LIMIT = 25 << 20
HELD_LIMIT = 256 << 20
READ_LIMIT = 30.0
ATTEMPTS = 50
AGAIN = {"failed", "refused", "skipped"}
_PATH = re.compile(rb"/hooks/([a-z]{1,16})/([A-Za-z0-9_-]{1,64})")


@dataclass(eq=False)
class Answer(Exception):
    """A status, a JSON body, and headers beside it."""

    status: int
    body: Mapping[str, object]
    headers: tuple[tuple[bytes, bytes], ...] = ()


def _refusal(status: int, error: str, *, retry_after: int = 0) -> Answer:
    headers = ((b"retry-after", str(retry_after).encode()),) if retry_after else ()
    return Answer(status, {"error": error}, headers)


class Receiver:
    """Answers ``POST /hooks/{forge}/{hook}``; at most ``HELD_LIMIT`` bytes of bodies are in memory at a time."""

    def __init__(
        self, store: Store, intake: Gathering, secrets: Secrets, apps: Collection[str], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._intake = intake
        self._apps = apps
        self._secrets = secrets
        self._clock = clock
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the receiver speaks HTTP only; run it with lifespan off")
        try:
            answer = await self._received(scope, receive)
        except Answer as refused:
            answer = refused
        except Invalid as error:
            answer = Answer(400, {"error": error.reason, "message": error.message})
        except Retryable as error:
            answer = _refusal(503, error.reason, retry_after=max(1, math.ceil(error.delay or 1.0)))
        except ConnectionResetError:
            return  # the sender went away in the middle: nothing was taken and nobody listens
        await _send(send, answer)

    async def _received(self, scope: Scope, receive: Receive) -> Answer:
        forge, hook, headers = _head(scope)
        known = self._secrets(forge.name, hook)
        verifier = Verifier(known, now=self._clock(), given=forge.given(headers, self._clock()))
        body = await self._body(receive, verifier)
        kid = verifier.signer()
        if known is None:
            return _refusal(404, "unknown_hook")
        if kid is None:
            return _refusal(401, "bad_signature")
        digest, trace = verifier.body_sha256, traces.new()
        own = APP_HOOK if hook in self._apps else hook
        said = deliveries_of(forge, headers, body, hook=own, kid=kid, body_sha256=digest, at=now(), trace=trace)
        answers = [await self._stored(delivery) for delivery in said]
        return next((answer for answer in answers if answer.status == 202), answers[0])

    async def _body(self, receive: Receive, verifier: Verifier) -> bytes:
        """The whole body, counted and signed as it comes."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(READ_LIMIT):
                async for chunk in _chunks(receive):
                    size += len(chunk)
                    self._held += len(chunk)
                    if size > BODY_LIMIT:
                        raise _refusal(413, "too_large")
                    if self._held > HELD_LIMIT:
                        raise _refusal(503, "busy", retry_after=5)
                    verifier.update(chunk)
                    chunks.append(chunk)
        except TimeoutError:
            raise _refusal(408, "too_slow") from None
        finally:
            self._held -= size
        return b"".join(chunks)

    async def _stored(self, delivery: Delivery) -> Answer:
        if (sequence := await self._intake.publish(delivery)) is not None:
            return _receipt(delivery, sequence)
        attempt = await self._next_attempt(delivery.id)
        if attempt is not None:
            again = _attempt_of(delivery, attempt)
            if (sequence := await self._intake.publish(again)) is not None:
                return _receipt(again, sequence)
        return Answer(200, {"status": "duplicate", "delivery": delivery.id})

    async def _next_attempt(self, delivery: str) -> int | None:
        """The number of a new attempt when the last one came to nothing; None while it runs or once it succeeded."""
        decided = await self._store.get(Decision, delivery)
        if decided is None or decided.record.attempt >= ATTEMPTS:
            return None
        decision = decided.record
        if decision.outcome in AGAIN:
            return decision.attempt + 1
        ran = await self._store.get(Run, decision.run) if decision.run else None
        return decision.attempt + 1 if ran and ran.record.status in {"failed", "cancelled"} else None


def create_receiver(
    *, store: Store, secrets: Secrets, apps: Collection[str] = (), intake: Gathering | None = None,
    clock: Callable[[], float] = time.time,
) -> Receiver:  # fmt: skip
    """The receiver; ``secrets`` is asked for each request, so a rotated secret works at once.

    ``apps`` are the hooks that are no repository's own; ``intake`` is how deliveries are written, together by default.
    """
    return Receiver(store, intake or Gathering(store), secrets, apps, clock)


def _receipt(delivery: Delivery, sequence: int) -> Answer:
    run = run_id(delivery.id, delivery.attempt)
    return Answer(202, {"delivery": delivery.id, "run": run, "stream": "HOOKS", "sequence": sequence})


def _attempt_of(delivery: Delivery, attempt: int) -> Delivery:
    """The same delivery as another attempt, which has a subject and a run of its own."""
    return msgspec.structs.replace(delivery, attempt=attempt)


def _head(scope: Scope) -> tuple[Forge, str, dict[str, str]]:
    """The forge, the hook and the headers of a request that is worth reading on. Raises Answer."""
    match = _PATH.fullmatch(scope.get("raw_path") or b"")
    forge = FORGES.get(match[1].decode()) if match else None
    if match is None or forge is None:
        raise _refusal(404, "unknown_hook")
    if scope["method"] != "POST":
        raise Answer(405, {"error": "method_not_allowed"}, ((b"allow", b"POST"),))
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" or headers.get("content-encoding", "identity").lower() != "identity":
        raise _refusal(415, "json_only")
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > 12 or int(length) > BODY_LIMIT:
        raise _refusal(413, "too_large")
    return forge, match[2].decode(), headers


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _send(send: Send, answer: Answer) -> None:
    body = msgspec.json.encode(answer.body) + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if answer.status in {405, 408, 413, 415}:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, *answer.headers]})
        await send({"type": "http.response.body", "body": body})
