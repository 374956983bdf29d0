"""Serving an ASGI application as a process of Enclii: its address, its end, nothing logged per request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from pipeline.main import Process
from pipeline.stalling import Cutting


async def serve(process: Process, application: Any) -> None:
    """Serve an ASGI application until the process shall end; requests in hand are finished first."""
    told = process.settings
    config = uvicorn.Config(
        application, host=told.host, port=told.port, http=Cutting, log_config=None, access_log=False, lifespan="off",
        timeout_graceful_shutdown=int(told.drain), server_header=False,
        forwarded_allow_ips=list(told.trusted_proxies),
    )  # fmt: skip
    server = _Server(config)
    async with _stopped_with(process.stopping, server):
        await server.serve()


class _Server(uvicorn.Server):
    """A server that leaves the signals to the process's own main."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def _stopped_with(stopping: asyncio.Event, server: uvicorn.Server) -> AsyncIterator[None]:
    async def stop() -> None:
        await stopping.wait()
        server.should_exit = True

    task = asyncio.create_task(stop())
    try:
        yield
    finally:
        task.cancel()
