"""Events of another version of Enclii: what was added is passed over, what means something else waits for a person."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from pipeline.bus import Write, connect
from pipeline.events import CancelRequested, Event
from pipeline.records import Parked
from pipeline.store import Step, Store
from pipeline.worker import Stage, work
from tests.support.nats import running_nats


def test_an_added_field_is_passed_over_and_an_unknown_version_is_parked_and_never_lost(tmp_path: Path) -> None:
    handled: list[str] = []
    stopping = asyncio.Event()

    async def handle(event: Event) -> Step:
        handled.append(event.id)
        return Step()

    async def run(url: str) -> list[Parked]:
        bus = await connect(url, name="test", wait=60)
        store = Store(bus)
        try:
            await bus.create_streams()
            for identity, version in (("newer", 2), ("added", 1), ("unread", 1)):
                body = {"id": identity, "run": 7 if identity == "unread" else "r-1", "invented": {"later": [1]}}
                headers = {"ce-type": f"dev.enclii.cancel.requested.v{version}"}
                await bus.commit(Write(f"ev.cancel.requested.{identity}", json.dumps(body).encode(), 0, headers))
            working = asyncio.create_task(work(Stage("canceller", (CancelRequested,), handle), store, stopping))
            async with asyncio.timeout(60):
                while len(await store.all(Parked)) < 2 or not handled:  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(0.02)
            stopping.set()
            await working
            return await store.all(Parked)
        finally:
            await bus.close()

    with running_nats(tmp_path) as url:
        parked = asyncio.run(run(url))

    assert handled == ["added"]
    assert {(one.subject_parked, one.reason) for one in parked} == {
        ("ev.cancel.requested.newer", "unknown_version"),
        ("ev.cancel.requested.unread", "unreadable_event"),
    }
    said = {one.reason: one.message for one in parked}
    assert said["unknown_version"] == "cancel.requested in version 2 is not known to this version of Enclii"
    assert said["unreadable_event"] == "cancel.requested in version 1 does not have the fields of that version"
