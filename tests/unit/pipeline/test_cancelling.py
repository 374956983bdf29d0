"""A result and a cancellation in the same moment: the cancellation wins."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.cancelling import not_lost

LIMIT = 60.0


async def both_at_once(awaited: asyncio.Future[str], task: asyncio.Task[str]) -> None:
    """Let the task begin to wait; then the result comes, and before anybody has seen it the cancellation."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    awaited.set_result("found")
    task.cancel()


def test_a_cancellation_that_comes_with_the_result_is_not_lost() -> None:
    async def story() -> None:
        awaited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(not_lost(asyncio.wait_for(awaited, LIMIT)))
        await both_at_once(awaited, task)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


def test_a_cancellation_that_comes_with_a_failure_is_not_lost() -> None:
    async def story() -> None:
        async def failing() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ConnectionError("a closed connection, says the client") from None

        task = asyncio.create_task(not_lost(failing()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


def test_a_deadline_that_passes_with_the_result_is_kept() -> None:
    async def story() -> None:
        awaited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        async def wait() -> None:
            async with asyncio.timeout(LIMIT) as deadline:
                loop.call_soon(awaited.set_result, "found")
                loop.call_soon(deadline.reschedule, loop.time())
                while True:
                    await not_lost(asyncio.wait_for(asyncio.shield(awaited), LIMIT))

        with pytest.raises(TimeoutError):
            await wait()

    asyncio.run(story())


def test_without_a_cancellation_there_is_the_result() -> None:
    async def story() -> str:
        return await not_lost(asyncio.sleep(0, "found"))

    assert asyncio.run(story()) == "found"


def test_who_was_cancelled_before_may_still_clean_up() -> None:
    async def story() -> list[str]:
        cleaned: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(await not_lost(asyncio.sleep(0, "cleaned")))

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return cleaned

    assert asyncio.run(story()) == ["cleaned"]
