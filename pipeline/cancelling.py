"""A cancellation that is not lost: before Python 3.12 ``asyncio.wait_for`` forgets one that comes with the result.

NATS' client waits by it. What it waits for comes once a second, and so do most deadlines and ends: a process that was
told to end then waited for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def not_lost(waited: Awaitable[T]) -> T:
    """The result; raises CancelledError when this task was cancelled while it waited, whatever came of that."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        found = await waited
    except Exception:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return found
