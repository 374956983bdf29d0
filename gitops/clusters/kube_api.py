"""The API server as plain requests: JSON in, bytes out, every call with a deadline, every refusal an error of ours.

Answers stay bytes: whoever asked decodes only the fields that it needs, so a thousand objects cost little.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from gitops.clusters import kube_errors
from pipeline.errors import EncliiError, Unavailable

REQUEST_LIMIT = 30.0
CONNECT_LIMIT = 10.0
RELOGIN_AFTER = 2.0
FAREWELL = 1.0
HEARTBEAT = 20.0
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

Login = Callable[[], Awaitable[Any]]
"""Reads the credentials anew and gives an ApiClient of the ``kubernetes`` package."""


class Api:
    """One cluster's API server. ``requests`` counts what was asked, for measurements."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._client: Any = None
        self._old: list[Any] = []
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = asyncio.Lock()
        self._logged_in = 0.0
        self.requests = 0

    async def close(self) -> None:
        """Close every connection."""
        clients, self._old, self._client = [*self._old, self._client], [], None
        for client in clients:
            if client is not None:
                await client.close()
        # What was cut is closed at the loop's next turn. What had been idle for too long takes its leave, as TLS has
        # it, and the pool knows of it no more: left to itself it would outlive the loop.
        end = time.monotonic() + FAREWELL
        while any(one.fileno() >= 0 for one in self._sockets) and time.monotonic() < end:  # noqa: ASYNC110 - the loop's
            await asyncio.sleep(0.01)

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, doing: str, accept: str = "") -> bytes:
        """The body of a GET. Raises NotFound, Refused, Unavailable."""
        return await self.call("GET", path, query, doing=doing, accept=accept)

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        doing: str,
        content: str = "application/json",
        accept: str = "",
        timeout: float = REQUEST_LIMIT,  # noqa: ASYNC109 - the deadline that every call has
    ) -> bytes:
        """One request and the whole answer; expired credentials are read again once."""
        try:
            async with asyncio.timeout(timeout):
                answer = await self._send(method, path, query, body, content, accept, timeout)
                data: bytes = await answer.read()
        except EncliiError:
            raise
        except Exception as error:  # aiohttp's tree, ssl's, the exec plugin's: none of them an answer
            raise kube_errors.away(doing, error) from error
        if answer.status >= 300:
            raise kube_errors.refusal(answer.status, data, doing)
        return data

    async def lines(
        self, path: str, query: Mapping[str, str], *, doing: str, quiet: float, accept: str = ""
    ) -> AsyncGenerator[bytes, None]:
        """The lines of an endless answer, until it ends; ``quiet`` seconds without one are an error."""
        answer = None
        try:
            async with asyncio.timeout(REQUEST_LIMIT):
                answer = await self._send("GET", path, query, None, "application/json", accept, 0)
                if answer.status >= 300:
                    raise kube_errors.refusal(answer.status, await answer.read(), doing)
            content = answer.response.content
            while True:
                async with asyncio.timeout(quiet):
                    line = await content.readline()
                if not line:
                    return
                yield line
        except (EncliiError, GeneratorExit):
            raise
        except Exception as error:
            raise kube_errors.away(doing, error) from error
        finally:
            if answer is not None:
                _cut(answer.response)

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, query: Sequence[tuple[str, str]], *, protocols: Sequence[str], doing: str
    ) -> AsyncGenerator[Any, None]:
        """A connection that carries both ways; one that hangs is noticed by its missing heartbeat."""
        socket = None
        try:
            async with asyncio.timeout(REQUEST_LIMIT):
                socket = await self._upgraded(f"{path}?{urlencode(query)}", protocols)
            yield socket
        except (EncliiError, GeneratorExit):
            raise
        except Exception as error:
            status = int(getattr(error, "status", 0) or 0)  # a refused upgrade has a status, and no body to be read
            raise kube_errors.refusal(status, b"", doing) if status >= 400 else kube_errors.away(doing, error) from None
        finally:
            if socket is not None:
                await socket.close()

    async def _upgraded(self, target: str, protocols: Sequence[str]) -> Any:
        client = await self._connected()
        try:
            return await self._upgrade(client, target, protocols)
        except Exception as error:
            if getattr(error, "status", 0) != 401:
                raise
        return await self._upgrade(await self._connected(instead_of=client), target, protocols)

    async def _upgrade(self, client: Any, target: str, protocols: Sequence[str]) -> Any:
        self.requests += 1
        _, url, headers, _, _ = await client.param_serialize("GET", target, auth_settings=["BearerToken"])
        rest = client.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()
        return await rest.pool_manager.ws_connect(
            "ws" + url.removeprefix("http"), protocols=protocols, headers=headers, heartbeat=HEARTBEAT, proxy=rest.proxy
        )

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content: str,
        accept: str,
        limit: float,
    ) -> Any:
        client = await self._connected()
        answer = await self._once(client, method, path, query, body, content, accept, limit)
        if answer.status != 401:
            return answer
        answer.response.release()
        client = await self._connected(instead_of=client)
        return await self._once(client, method, path, query, body, content, accept, limit)

    async def _once(
        self, client: Any, method: str, path: str, query: Mapping[str, str] | None, body: Any, content: str,
        accept: str, limit: float,
    ) -> Any:  # fmt: skip
        self.requests += 1
        target = path + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": content, "Accept": accept or "application/json"}
        serialized = await client.param_serialize(method, target, header_params=headers, auth_settings=["BearerToken"])
        _, url, sent, _, _ = serialized
        return await client.call_api(method, url, sent, body, _request_timeout=limit or 86_400.0)

    async def _connected(self, *, instead_of: Any = None) -> Any:
        """The client; a new one, with credentials read anew, in place of one that was refused."""
        async with self._lock:
            if self._client is not None and self._client is not instead_of:
                return self._client
            if self._client is not None and time.monotonic() - self._logged_in < RELOGIN_AFTER:
                return self._client
            try:
                fresh = await self._login()
            except EncliiError:
                raise
            except Exception as error:
                raise Unavailable(
                    f"the cluster's credentials cannot be read: {type(error).__name__}",
                    reason="credentials_unreadable", delay=10.0,
                ) from error  # fmt: skip
            _note(fresh, self._sockets)
            old, self._client, self._logged_in = self._client, fresh, time.monotonic()
            if old is not None:
                self._old.append(old)  # requests in flight still use it
            return fresh


def _note(client: Any, sockets: weakref.WeakSet[socket.socket]) -> None:
    """Have ``sockets`` hold every socket that the client opens."""
    from aiohttp import TCPConnector

    rest = client.rest_client

    def opened(address: tuple[Any, ...]) -> socket.socket:
        one = socket.socket(*address[:3])
        sockets.add(one)
        return one

    rest._create_connector = lambda: TCPConnector(limit=rest.maxsize, ssl=rest.ssl_context, socket_factory=opened)


def _cut(response: Any) -> None:
    """Close without the farewell of TLS: a server that hangs would never answer it."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def path_of(*parts: str) -> str:
    """A path of checked parts."""
    return "/" + "/".join(quote(part, safe="") for part in parts)
