"""An end for a build that neither prints nor moves: hanging is found long before the deadline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pipeline.build_log import BoundedLog
from pipeline.builders import BuildFailed


@contextlib.asynccontextmanager
async def unless_stalled(output: BoundedLog, seconds: float) -> AsyncIterator[None]:
    """Raises BuildFailed in place of the body's end once nothing has moved for ``seconds`` (0: never)."""
    if not seconds:
        yield
        return
    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(_watch(output, seconds))
            yield
            watcher.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _watch(output: BoundedLog, seconds: float) -> None:
    await output.idle(seconds)
    raise BuildFailed(
        f"the build made no progress for {seconds:g} s and was ended\n{output.tail()}", reason="build_stalled"
    )
