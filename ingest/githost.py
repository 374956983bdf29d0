"""The git host: ``git push`` and ``git fetch`` over HTTP, by git's own backend behind names, tokens and hooks of ours.

A plain ASGI application, because an answer that streams while its request still arrives is more than a framework's
response object allows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ingest import backend
from ingest.access import Caller, Tokens, caller, credentials
from ingest.backend import Limits, Receive, Send
from ingest.githost_hooks import Check, HookHandler, PushInFlight, install
from ingest.gitrepos import Repositories, RepositoryName, durable, git_environment, requested
from ingest.machine_tokens import MachineTokens
from ingest.pushes import Announcer
from ingest.sweep import Sweeper
from pipeline.errors import Unavailable
from pipeline.store import Store

SERVICES = ("git-upload-pack", "git-receive-pack")
ENCODINGS = (b"", b"identity", b"gzip", b"x-gzip")
AT_ONCE = 16
QUEUE_LIMIT = 60.0
_PROTOCOL = re.compile(rb"version=[0-2]")


@dataclass(eq=False)
class Refusal(Exception):
    """An answer that needs no git."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Request:
    """What one request asks for, once its path, method and caller are accepted."""

    repository: RepositoryName
    endpoint: str  # "info/refs" or a service
    service: str
    caller: Caller
    headers: Mapping[bytes, bytes]

    @property
    def writes(self) -> bool:
        return self.service == "git-receive-pack"


class GitHost:
    """The application and what runs beside it; ``async with`` starts and ends the hooks' socket and the safety net."""

    def __init__(
        self,
        repositories: Repositories,
        tokens: Tokens,
        machines: MachineTokens,
        hooks: HookHandler,
        sweeper: Sweeper,
        state: Path,
        config: Mapping[str, str],
        limits: Limits,
    ) -> None:
        self.repositories = repositories
        self.sweeper = sweeper
        self._tokens = tokens
        self._machines = machines
        self._hooks = hooks
        self._state = state
        self._config = config
        self._limits = limits
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running = contextlib.AsyncExitStack()

    async def __aenter__(self) -> GitHost:
        self.repositories.root.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self.repositories.remove_leftovers)
        install(self._state / "hooks")
        await self._running.enter_async_context(self._hooks.serving(self._socket))
        sweeping = asyncio.create_task(self.sweeper.forever())
        self._running.callback(sweeping.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    @property
    def _socket(self) -> Path:
        return self._state / "hooks.sock"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the git host speaks HTTP only; start it with `async with` and lifespan off")
        try:
            await self._serve(await self._accepted(scope), receive, send)
        except Refusal as refusal:
            await _answer(send, refusal)

    async def _accepted(self, scope: Mapping[str, Any]) -> Request:
        """The request, if its path, method, caller and headers are what this host serves. Raises Refusal."""
        target = requested(scope.get("raw_path") or b"")
        if target is None:
            raise Refusal(404, "no such repository")
        repository, endpoint = target
        headers = {bytes(key).lower(): bytes(value) for key, value in scope["headers"]}
        service = _service(endpoint, scope)
        somebody = await self._caller(headers.get(b"authorization", b"").decode("latin-1"), repository)
        if somebody is None:
            raise Refusal(401, "a token is needed", ((b"www-authenticate", b'Basic realm="enclii"'),))
        request = Request(repository, endpoint, service, somebody, headers)
        _check_rights(request)
        if endpoint != "info/refs":
            _check_body(request)
        return request

    async def _caller(self, authorization: str, repository: RepositoryName) -> Caller | None:
        try:
            return caller(authorization, self._tokens) or await self._machines.caller(
                credentials(authorization)[1], repository
            )
        except Unavailable as error:
            raise Refusal(503, f"enclii: {error.message}", ((b"retry-after", b"5"),)) from None

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        if not self.repositories.exists(request.repository):
            if not request.writes:
                raise Refusal(404, "no such repository")
            await self.repositories.create(request.repository)
        async with self._place():
            if not (request.writes and request.endpoint == request.service):
                await backend.serve(self._environment(request, push=""), receive, send, self._limits)
                return
            by_committer = request.caller.role == "config"
            push = PushInFlight(request.repository, request.caller.actor)
            async with self._hooks.letting_in(push):

                async def watched(message: MutableMapping[str, Any]) -> None:
                    self._hooks.look(push)
                    await send(message)

                await backend.serve(self._environment(request, push=push.id), receive, watched, self._limits)
                if by_committer:
                    await self._hooks.committed(push)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._places.acquire(), QUEUE_LIMIT)
        except TimeoutError:
            raise Refusal(503, "too many pushes and fetches at once", ((b"retry-after", b"10"),)) from None
        try:
            yield
        finally:
            self._places.release()

    def _environment(self, request: Request, *, push: str) -> dict[str, str]:
        """All that the backend, git and the hooks see: CGI's words, our configuration, and nothing inherited."""
        path = f"/{request.repository.project}/{request.repository.name}.git/{request.endpoint}"
        # Nothing is asked of the committer, who has to be quick: what it pushed is looked up afterwards.
        hooks = os.devnull if request.caller.role == "config" else str(self._state / "hooks")
        found = git_environment({**self._config, "core.hooksPath": hooks})
        found |= {"GIT_PROJECT_ROOT": str(self.repositories.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path}
        found |= {"REMOTE_USER": request.caller.actor, "REQUEST_METHOD": "POST"}
        found |= {"ENCLII_HOOK_SOCKET": str(self._socket), "ENCLII_PUSH": push}
        if request.endpoint == "info/refs":
            found |= {"REQUEST_METHOD": "GET", "QUERY_STRING": f"service={request.service}"}
        # No CONTENT_LENGTH: with it the backend spins for ever on a body that ends early; without, the end is the end.
        names = {b"content-type": "CONTENT_TYPE", b"content-encoding": "HTTP_CONTENT_ENCODING"}
        found |= {name: request.headers[key].decode("latin-1") for key, name in names.items() if key in request.headers}
        protocol = request.headers.get(b"git-protocol", b"")
        return found | ({"GIT_PROTOCOL": protocol.decode()} if _PROTOCOL.fullmatch(protocol) else {})


def create_githost(
    *,
    store: Store,
    state: Path,
    tokens: Tokens,
    check: Check,
    git_url: str,
    console_url: str,
    max_push: int = 512 << 20,
    sweep: float = 60.0,
    limits: Limits | None = None,
) -> GitHost:
    """The git host with its repositories and hooks below ``state``.

    ``check`` reads ``enclii.yaml``; ``git_url`` is where the other processes fetch, ``console_url`` what people open.
    """
    repositories = Repositories(state.absolute() / "repositories")
    announcer = Announcer(store, git_url)
    sweeper = Sweeper(repositories, announcer, every=sweep)
    hooks = HookHandler(repositories, announcer, check=check, console_url=console_url, late=sweeper.late)
    bounds = limits or Limits(body=max_push + (64 << 20))
    return GitHost(
        repositories, tokens, MachineTokens(store), hooks, sweeper, state.absolute(), _configuration(max_push), bounds
    )


def _configuration(max_push: int) -> dict[str, str]:
    return durable() | {
        "http.receivepack": "true",
        "receive.maxInputSize": str(max_push),
        "receive.fsckObjects": "true",
        "receive.unpackLimit": "1",  # keep the pack: one file to sync instead of one for each object
        "receive.advertisePushOptions": "true",
        "uploadpack.allowReachableSHA1InWant": "true",
        "uploadpack.allowFilter": "true",
    }


def _service(endpoint: str, scope: Mapping[str, Any]) -> str:
    if scope["method"] != ("GET" if endpoint == "info/refs" else "POST"):
        raise Refusal(405, "method not allowed")
    if endpoint != "info/refs":
        return endpoint
    for service in SERVICES:
        if scope.get("query_string") == f"service={service}".encode():
            return service
    raise Refusal(403, "only git's smart protocol is spoken here; use a current git")


def _check_rights(request: Request) -> None:
    allowed = request.caller.may_write if request.writes else request.caller.may_read
    if not allowed(request.repository):
        what = "push to" if request.writes else "read"
        name = f"{request.repository.project}/{request.repository.name}"
        raise Refusal(403, f"enclii: this token may not {what} {name}")


def _check_body(request: Request) -> None:
    if request.headers.get(b"content-type") != f"application/x-{request.service}-request".encode():
        raise Refusal(415, f"content type must be application/x-{request.service}-request")
    if request.headers.get(b"content-encoding", b"").lower() not in ENCODINGS:
        raise Refusal(415, "content encoding must be gzip or none")
    if not request.headers.get(b"content-length", b"0").isdigit():
        raise Refusal(400, "content length must be a number")


async def _answer(send: Send, refusal: Refusal) -> None:
    text = refusal.text.encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": refusal.status, "headers": [*headers, *refusal.headers]})
        await send({"type": "http.response.body", "body": text})
