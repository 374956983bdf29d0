"""A git host of its own process that kills itself when it is about to announce a push: ``STATE NATS``.

It prints its port and serves until then, so the ref has moved and nobody has been told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from ingest.access import Tokens
from ingest.githost import create_githost
from pipeline.bus import connect
from pipeline.events import Event
from pipeline.servicefile import parse_servicefile
from pipeline.store import Store
from tests.support.serving import serving


class DyingStore(Store):
    """Stores intents; dies at the first event."""

    async def publish(self, *events: Event) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return await super().publish(*events)


async def main(state: Path, nats: str) -> None:
    store = DyingStore(await connect(nats, name="dying", wait=60.0))
    tokens = Tokens(deploy="deploy-token")
    host = create_githost(
        store=store, state=state, tokens=tokens, check=parse_servicefile, git_url="http://g", console_url="http://c"
    )
    async with host, serving(host) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
