"""The syncer where it cannot look: what ran is not called running for ever, on a real event store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from gitops.clusters import ServiceRef
from gitops.clusters.podman import Podman
from gitops.gate.signatures import Gate
from gitops.git.configrepo import ConfigRepo
from gitops.syncing.desired import Desired
from gitops.syncing.front import Front
from gitops.syncing.placement import Clusters
from gitops.syncing.syncer import Syncer
from pipeline.bus import connect
from pipeline.records import Deployment, Live, Target, Verdict
from pipeline.registry import Registry
from pipeline.store import Change, Step, Store
from tests.support.components import needs
from tests.support.nats import running_nats

WEB = ServiceRef("shop", "production", "web")
IMAGE = "registry.invalid/shop/web@sha256:" + "1" * 64
PLACE = {"project": "shop", "environment": "production", "service": "web"}


def records() -> list[Any]:
    """A service that was running when its syncer was started again."""
    common = {**PLACE, "release": "shop.web.v1", "image": IMAGE}
    return [
        Target(**common, deployment="d-1", sha="s", config_commit="c" * 40),
        Deployment(**common, id="d-1", status="running", config_commit="c" * 40),
        Live(**common, deployment="d-1", status="running", health="healthy", ready=1, desired=1, healthy_since="x"),
        Verdict(image=IMAGE, source_url="", shas=(), provenance="p", verified_at=""),
    ]


def test_what_nobody_can_look_at_because_git_is_away_is_unknown(tmp_path: Path) -> None:
    needs("podman")

    async def go(url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        await bus.create_streams()
        store = Store(bus)
        await store.commit(Step(tuple(Change(one, None) for one in records())))
        gone = ConfigRepo(tmp_path / "mirror", "http://127.0.0.1:9/enclii/config.git")
        async with Registry("127.0.0.1:9", plain_http=True) as images:
            gate = Gate(store, images, [], frozenset())
            front = Front(store, door_url="http://localhost:1", door_ops=1)
            clusters = Clusters("podman", lambda: {"podman": lambda: Podman(instance="nobody")})
            syncer = Syncer(store, clusters, Desired(gone), front, gate)
            passes = asyncio.create_task(syncer.follow())
            try:
                async with asyncio.timeout(60), store.bus.watch("st.live.*") as messages:
                    async for message in messages:
                        live = msgspec.json.decode(message.data, type=Live)
                        if live.status == "unknown":
                            break
            finally:
                passes.cancel()
                await asyncio.gather(passes, return_exceptions=True)
                await clusters.close()
                await bus.close()
        assert (live.health, live.ready) == ("unknown", 0)
        assert "nobody could look at it" in live.reason

    with running_nats(tmp_path) as url:
        asyncio.run(go(url))
