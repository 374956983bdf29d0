"""The front door's words about previews."""

from __future__ import annotations

import asyncio

from gitops.door.hits import AGAIN, EVERY, Hits
from pipeline.errors import Unavailable


def test_a_preview_is_told_of_now_and_then_and_at_once_when_it_sleeps() -> None:
    async def story() -> None:
        told: list[str] = []
        clock = [0.0]

        async def tell(host: str) -> None:
            told.append(host)

        hits = Hits(tell, clock=lambda: clock[0])
        hits.hosts.add("a")
        for at, answers in ((0.0, True), (1.0, True), (EVERY, True), (EVERY + AGAIN, False), (EVERY + AGAIN, False)):
            clock[0] = at
            hits.heard("a", answers=answers)
            hits.heard("production", answers=answers)
            await asyncio.sleep(0)
        await hits.close()
        assert told == ["a", "a", "a"]

    asyncio.run(story())


def test_what_could_not_be_told_is_told_with_the_next_request() -> None:
    async def story() -> None:
        tries: list[str] = []

        async def tell(host: str) -> None:
            tries.append(host)
            raise Unavailable("nobody answers", reason="away")

        hits = Hits(tell)
        hits.hosts.add("a")
        for _ in range(2):
            hits.heard("a", answers=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert tries == ["a", "a"]

    asyncio.run(story())
