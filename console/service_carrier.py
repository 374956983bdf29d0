"""The answer that carries a service's lines to one of many readers: from where it was, and then as they come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from sse_starlette import ServerSentEvent

from console.fanout import PING, Carried, Wire
from console.service_feed import Feed, Feeds, Shape
from console.service_logs import WINDOW, Behind, Choice, Dead, Seen, kept, lines_behind
from console.streams import event
from gitops.clusters import ServiceRef
from pipeline.errors import EncliiError

END: Final = event("end", {}).encode()


def as_it_is(told: ServerSentEvent) -> ServerSentEvent:
    """The shape of programs: nothing is changed."""
    return told


@dataclass(frozen=True)
class Wish:
    """Which lines of which service somebody wants, and how they shall look; ``dead`` comes before them."""

    ref: ServiceRef
    choice: Choice
    last_id: str = ""
    dead: Dead | None = None
    shape: Shape = as_it_is


class Following(Carried):
    """The lines that a reader has not seen, and then each that comes."""

    def __init__(self, feeds: Feeds, wish: Wish, stopping: asyncio.Event, limit: float | None = None) -> None:
        """Raises Invalid for an id that nobody gave out."""
        super().__init__(stopping, limit)
        self._feeds = feeds
        self._wish = wish
        self._seen = Seen.parse(wish.last_id)

    async def carry(self, wire: Wire) -> None:
        wish, seen = self._wish, self._seen
        if wish.dead is not None and not seen.newest:
            for one in await asyncio.to_thread(kept, wish.dead, wish.choice):
                await wire.write(wish.shape(event("line", one)).encode())
        async with self._feeds.reading(wish.ref, wire.waker) as feed:
            try:
                await self._carried(wire, feed)
            except EncliiError as error:
                told = {"detail": error.message, "reason_code": error.reason}
                await wire.write(event("problem", told).encode())

    async def _carried(self, wire: Wire, feed: Feed) -> None:
        while not (feed.ready.is_set() or wire.over):
            await wire.waker.wait()
            wire.waker.clear()
        if wire.over:
            return
        begin = feed.begin(self._wish.choice, self._seen)
        if begin < 0:
            begin = await self._older(wire, feed)
        await self._newer(wire, feed, begin)

    async def _older(self, wire: Wire, feed: Feed) -> int:
        """Read for this reader alone what is not kept. Returns where it goes on: all before was there to be read."""
        wish, end = self._wish, feed.end
        async for one in lines_behind(self._feeds.logs, wish.ref, wish.choice, self._seen):
            if one.event == "line":
                await wire.write(wish.shape(one).encode())
        return end

    async def _newer(self, wire: Wire, feed: Feed, index: int) -> None:
        wish, silent = self._wish, feed.silent
        behind, settled = Behind(self._seen), self._seen.newest + WINDOW if self._seen.newest else 0
        while not wire.over:
            wire.waker.clear()
            if index < feed.base:
                return  # too slow: the client comes back with its last id
            if index < feed.end:
                if wish.choice.narrow or feed.at(index) <= settled:
                    data, index = feed.chosen(index, wish.choice, behind, wish.shape)
                else:
                    data, index = feed.piece(index, wish.shape)
                if data:
                    await wire.write(data)
                continue
            if feed.problem:
                raise feed.problem
            if feed.ended:
                await wire.write(END)
                return
            if silent != feed.silent:
                silent = feed.silent
                await wire.write(PING)
            await wire.waker.wait()
