"""A receiver of its own process that kills itself between the event store's acknowledgement and its answer: ``NATS``.

It prints its address and serves until then, so a delivery is on the disk and its sender does not know it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from ingest.receiver import create_receiver
from pipeline.bus import connect
from pipeline.events import Event
from pipeline.gathering import Gathering
from pipeline.store import Store
from tests.integration.test_receiver import SECRETS
from tests.support.serving import serving


class Dying(Gathering):
    """Stores what is given, hears that it is stored, and dies."""

    async def publish(self, event: Event) -> int | None:
        await super().publish(event)
        os.kill(os.getpid(), signal.SIGKILL)
        return None


async def main(nats: str) -> None:
    store = Store(await connect(nats, name="dying"))
    receiver = create_receiver(store=store, secrets=lambda _, hook: SECRETS.get(hook), intake=Dying(store))
    async with serving(receiver) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
