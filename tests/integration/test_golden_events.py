"""Two releases beside each other: the last one's events in this one's workers, and this one's in the last one's.

Each is handled or, when its version is not known, parked with its reason; git gets what was asked for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.bus import Write, connect
from pipeline.events import TYPES, Delivery, Event, decode
from pipeline.records import Parked
from pipeline.store import Step, Store
from pipeline.worker import Stage, work
from tests.support.committer_world import World, told
from tests.support.former_release import former_types
from tests.support.golden_events import Written, added, written
from tests.support.nats import running_nats

ALL = tuple(TYPES.values())
TODAY = {kind: one.version for kind, one in TYPES.items()}


def test_a_worker_takes_every_recorded_event_and_parks_none(tmp_path: Path) -> None:
    handled, parked = _worked(tmp_path, written())

    assert parked == {}
    assert handled == {one.subject: json.loads(one.body) for one in written()}


def test_the_last_releases_worker_takes_what_this_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former = former_types()
    todays = [one for one in written() if one.version == TODAY[one.type] and one.type in former]
    new = [dataclasses.replace(one, body=added(one.body)) for one in todays]
    meant = {one.subject: json.loads(decode(one.type, one.body).encode()) for one in new}
    for kind, known in former.items():
        monkeypatch.setitem(TYPES, kind, known)

    handled, parked = _worked(tmp_path, new)

    newer = {one.subject for one in new if one.version > former[one.type].version}
    assert parked.keys() == newer
    assert handled.keys() == meant.keys() - newer
    assert all(_part_of(event, meant[subject]) for subject, event in handled.items())


def test_what_means_something_else_by_now_is_parked_by_who_does_not_know_it(tmp_path: Path) -> None:
    newer = [dataclasses.replace(one, name=f"{one.type}.v{TYPES[one.type].version + 1}") for one in written()]

    handled, parked = _worked(tmp_path, newer)

    assert handled == {}
    assert parked == {one.subject: "unknown_version" for one in written()}


def test_a_committer_does_what_recorded_events_ask(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.release(2)  # the record that the event names
        await world.do(_whole("release.ready"))
        assert "v2" in world.log()[0]

        await world.do(_whole("scale.requested"))
        assert "replicas: 3" in _text(world)

        await world.do(_whole("hold.requested"))
        await world.do(await world.release(3))
        assert "v3" not in "".join(world.log())

        await world.do(_whole("destroy.requested"))
        assert not [file for file in world.files() if "/web/" in file]

    told(tmp_path, story)


def _whole(kind: str) -> Event:
    return decode(kind, written(f"{kind}.v1")[0].body)


def _text(world: World) -> str:
    return "".join(world.file(file) for file in world.files() if "/web/" in file)


def _part_of(some: Any, whole: Any) -> bool:
    """Whether the one says the same as the other as far as it says anything: the fields of today alone are more."""
    if isinstance(some, dict) and isinstance(whole, dict):
        return all(key in whole and _part_of(value, whole[key]) for key, value in some.items())
    return bool(some == whole)


def _worked(folder: Path, events: Sequence[Written]) -> tuple[dict[str, Any], dict[str, str]]:
    """By subject, the events that workers handled, and why they parked the others."""
    handled: dict[str, Any] = {}
    stopping = asyncio.Event()

    async def handle(event: Event) -> Step:
        handled[event.subject] = json.loads(event.encode())
        return Step()

    async def run(url: str) -> dict[str, str]:
        bus = await connect(url, name="test", wait=60)
        store = Store(bus)
        try:
            await bus.create_streams()
            for one in events:
                await bus.commit(Write(one.subject, one.body, 0, one.headers))
            others = tuple(kind for kind in ALL if kind is not Delivery)
            stages = (Stage("hooks", (Delivery,), handle), Stage("rest", others, handle))
            working = [asyncio.create_task(work(stage, store, stopping)) for stage in stages]
            async with asyncio.timeout(60):
                while len(handled) + len(await store.all(Parked)) < len(events):  # noqa: ASYNC110 - nobody is told
                    await asyncio.sleep(0.02)
            stopping.set()
            await asyncio.gather(*working)
            return {one.subject_parked: one.reason for one in await store.all(Parked)}
        finally:
            await bus.close()

    with running_nats(folder) as url:
        parked = asyncio.run(run(url))
    return handled, parked
