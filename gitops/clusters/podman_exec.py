"""A command in a running container of podman's: typed to and printed from as it goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from gitops.clusters import Exited, Printed, ServiceRef, Size, Typed
from gitops.clusters import podman_commands as commands
from pipeline.errors import NotFound
from pipeline.process import CommandFailed, orphan_proof
from pipeline.talk import Talk, talk

AHEAD = 16


@dataclass(frozen=True)
class Room:
    """Where a command is to run: one of the containers that ``listing`` shows of a service."""

    listing: Callable[[ServiceRef], Awaitable[Sequence[Mapping[str, Any]]]]
    ref: ServiceRef
    replica: str = ""


def chosen(found: Sequence[Mapping[str, Any]], ref: ServiceRef, replica: str) -> str:
    """The id of the container that is meant: the newest that runs, or the one of that name. Raises NotFound."""
    running = [item for item in found if item["State"] == "running"]
    named = [item for item in running if replica in ("", item["Labels"].get(commands.PREFIX + "pod"))]
    if not named:
        what = f"replica {replica!r}" if replica else "replica"
        raise NotFound(f"no {what} of {ref} runs: enclii ps shows those that do", reason="no_replica")
    return str(max(named, key=lambda item: int(item.get("Created") or 0))["Id"])


async def execute(
    room: Room, command: Sequence[str], typed: AsyncIterator[Typed], *, env: Mapping[str, str], terminal: Size | None
) -> AsyncGenerator[Printed | Exited, None]:
    """Run ``command`` there. Raises NotFound, and Unavailable when podman cannot be started."""
    container = chosen(await room.listing(room.ref), room.ref, room.replica)
    argv = orphan_proof(commands.execute(container, command, terminal=terminal is not None))
    size = (terminal.rows, terminal.columns) if terminal else None
    try:
        async with talk(argv, env={**env, "TERM": "xterm"}, terminal=size) as talking:
            async with contextlib.aclosing(_conversation(talking, typed)) as printed:
                async for one in printed:
                    yield one
            yield Exited(await talking.wait())
    except CommandFailed as error:
        raise commands.fault(error, "run a command") from error


async def _conversation(talking: Talk, typed: AsyncIterator[Typed]) -> AsyncGenerator[Printed, None]:
    """What is printed, until the program has closed all its streams."""
    queue: asyncio.Queue[Printed | None] = asyncio.Queue(AHEAD)
    reading = [asyncio.create_task(_read(talking, stream, queue)) for stream in talking.streams]
    typing = asyncio.create_task(_type(talking, typed))
    try:
        open_streams = len(reading)
        while open_streams:
            one = await queue.get()
            if one is None:
                open_streams -= 1
            else:
                yield one
    finally:
        for task in (*reading, typing):
            task.cancel()
        await asyncio.gather(*reading, typing, return_exceptions=True)


async def _read(talking: Talk, stream: str, queue: asyncio.Queue[Printed | None]) -> None:
    while data := await talking.read(stream):
        await queue.put(Printed(cast("Literal['stdout', 'stderr']", stream), data))
    await queue.put(None)


async def _type(talking: Talk, typed: AsyncIterator[Typed]) -> None:
    async for one in typed:
        if isinstance(one, Size):
            talking.resize((one.rows, one.columns))
        else:
            await talking.write(one)
    await talking.end_typing()
