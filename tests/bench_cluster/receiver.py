"""``python -m tests.bench_cluster.receiver NATS MOST [CA]``: a receiver of its own process, as the product serves it.

``MOST`` deliveries share one sync; with 1 each has its own, as many at once as come. With ``CA`` the event store has
TLS and users, and the receiver is its own. It prints its address.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
import uvloop

from ingest.hooks import Secret
from ingest.receiver import create_receiver
from pipeline.bus import connect
from pipeline.gathering import AT_ONCE, Gathering
from pipeline.rights import rights_of
from pipeline.store import Store
from tests.support.nats import password_of

USER = "receiver"
HOOK, KEY = "shop", b"a secret of the bench"
UNBOUNDED = 10_000


async def main(nats: str, most: int, ca: str) -> None:
    """Serve until TERM."""
    user, password = (USER, password_of(USER)) if ca else ("", "")
    rights = rights_of(USER) if ca else None
    store = Store(await connect(nats, name=USER, user=user, password=password, ca=ca, rights=rights, wait=60.0))
    intake = Gathering(store, most=most, at_once=AT_ONCE if most > 1 else UNBOUNDED)
    receiver = create_receiver(store=store, intake=intake, secrets=lambda _, hook: (Secret("k", KEY),) * (hook == HOOK))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(receiver, log_config=None, access_log=False, lifespan="off", server_header=False)
        await uvicorn.Server(config).serve(sockets=[listener])
    await asyncio.sleep(0)
    await store.bus.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), "".join(sys.argv[3:])))
