"""The worker's loop for work that takes long and is not to be taken in the order of arrival.

Everything that waits is taken in and beaten for, so that the fair choice is made among all of it; a turn then begins
as in worker.py. What has not begun when the process shall end goes back at once, and half of it when another such
process has nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from pipeline.bus import Message
from pipeline.events import Event
from pipeline.main import in_background
from pipeline.store import Store
from pipeline.surplus import Surplus
from pipeline.turns import Turns
from pipeline.worker import ACK_WAIT, Stage, beating, event_of, expect, take, until

TAKEN_IN = 64

Gate = Callable[[], Awaitable[None]]
"""Returns when a turn may begin."""


async def work_fairly(
    stage: Stage, store: Store, stopping: asyncio.Event, *, turns: Turns, share: Callable[[Event], str], gate: Gate
) -> None:
    """Run ``stage`` until ``stopping`` is set; ``share`` names the one among whom turns are divided."""
    expect(stage)
    surplus = Surplus(store.bus, turns)
    async with (
        in_background(surplus.listen(), surplus.say()),
        asyncio.TaskGroup() as group,
        store.bus.consume(stage.stream(), stage.name, stage.subjects(), ack_wait=ACK_WAIT, inflight=TAKEN_IN) as found,
    ):
        async for message in until(found, stopping):
            group.create_task(_in_turn(stage, store, message, stopping, turns, surplus, share, gate))


async def _in_turn(
    stage: Stage, store: Store, message: Message, stopping: asyncio.Event, turns: Turns, surplus: Surplus,
    share: Callable[[Event], str], gate: Gate,
) -> None:  # fmt: skip
    event = event_of(message)
    async with contextlib.AsyncExitStack() as held:
        async with beating([message]):
            turn = turns.turn(share(event) if event else "")
            with surplus.waiting() as leave:
                begun = await _unless((stopping, leave), _begin(held, turn, gate))
            if not begun:
                await message.retry(0.0)
                return
        await take(stage, store, message)


async def _begin(
    held: contextlib.AsyncExitStack, turn: contextlib.AbstractAsyncContextManager[None], gate: Gate
) -> None:
    await held.enter_async_context(turn)
    await gate()


async def _unless(ends: Sequence[asyncio.Event], work: Awaitable[None]) -> bool:
    """True when ``work`` was done before one of ``ends`` was set; otherwise it is cancelled."""
    doing, stops = asyncio.ensure_future(work), [asyncio.ensure_future(one.wait()) for one in ends]
    try:
        await asyncio.wait({doing, *stops}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
            return True
        return False
    finally:
        for task in (doing, *stops):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
