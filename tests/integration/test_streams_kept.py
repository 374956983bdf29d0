"""A server that dies forgets what it had in memory: who may make streams makes it again, without being started anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline import structure
from pipeline.settings import Secret, Settings
from tests.support.nats import password_of
from tests.support.stores import Restartable, event_store


def told(name: str, server: Restartable) -> Settings:
    setup = Secret(password_of("setup")) if name == "committer" else Secret("")
    return Settings(
        nats_url=server.address, nats_user=name, nats_password=Secret(password_of(name)), nats_setup_password=setup
    )


def test_the_leases_are_there_again_after_the_server_was_killed(tmp_path: Path) -> None:
    async def story(server: Restartable) -> None:
        committer, syncer = told("committer", server), told("syncer", server)
        bus = await structure.connected(committer, "committer", wait=60)
        await structure.stand(bus, committer, wait=60)
        keeping = asyncio.ensure_future(structure.kept(bus, committer, pause=0.05))

        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.again)
        late = await structure.connected(syncer, "syncer", wait=60)
        await structure.stand(late, syncer, wait=60)

        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
        await late.close()
        await bus.close()

    server = event_store(tmp_path / "nats")
    try:
        asyncio.run(story(server))
    finally:
        server.end()
