"""The projection against a real event store: it follows, resumes, and fills again after it was dropped."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from console.projection import Projection, conditions
from pipeline.bus import Bus, connect
from pipeline.records import Deployment, Record, Release, Run, ServiceRecord
from pipeline.store import Change, Step, Store
from tests.integration import console_records as data
from tests.support.nats import running_nats


def with_store(tmp: Path, story: Callable[[Store], Awaitable[None]]) -> None:
    async def go(url: str) -> None:
        bus = await connect(url, name="test", wait=60.0)
        await bus.create_streams()
        try:
            async with asyncio.timeout(60):
                await story(Store(bus))
        finally:
            await bus.close()

    with running_nats(tmp) as url:
        asyncio.run(go(url))


@asynccontextmanager
async def following(path: Path, bus: Bus) -> AsyncIterator[Projection]:
    projection = Projection(path)
    task = asyncio.create_task(projection.follow(bus))
    try:
        yield projection
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        projection.close()


async def put(store: Store, *records: Record) -> int:
    await store.commit(Step(tuple(Change(record, None) for record in records)))
    entry = await store.bus.get(records[-1].subject)
    assert entry is not None
    return entry.seq


async def reached(projection: Projection, seq: int) -> None:
    while True:
        moved = projection.moved
        if projection.position() >= seq:
            return
        await moved.wait()


def test_records_are_found_by_their_columns_in_order_of_creation(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        seq = await put(store, *data.shop())
        async with following(tmp_path / "p.sqlite", store.bus) as projection:
            await reached(projection, seq)
            newest = projection.find(Release, project="shop", service="web", newest_first=True, limit=1)
            assert [release.id for release in newest] == ["shop.web.v2"]
            assert [d.id for d in projection.find(Deployment, run="r-1")] == ["d-1"]
            assert [r.id for r in projection.starting(Run, "sha", "2222")] == ["r-2"]

    with_store(tmp_path, story)


def test_the_newest_version_of_a_record_is_the_one_that_is_read(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        async with following(tmp_path / "p.sqlite", store.bus) as projection:
            await put(store, data.run(1, "running"))
            await reached(projection, await put(store, data.run(1, "failed")))
            found = projection.get(Run, "r-1")
            assert found is not None
            assert found.status == "failed"

    with_store(tmp_path, story)


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        path = tmp_path / "p.sqlite"
        async with following(path, store.bus) as projection:
            await reached(projection, first := await put(store, data.run(1, "running")))
        second = await put(store, data.run(2, "running"))
        async with following(path, store.bus) as projection:
            assert projection.position() == first
            await reached(projection, second)
            assert len(projection.find(Run)) == 2

    with_store(tmp_path, story)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"no database" * 99)])
def test_a_dropped_or_damaged_file_fills_again(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    async def story(store: Store) -> None:
        path = tmp_path / "p.sqlite"
        async with following(path, store.bus) as projection:
            await reached(projection, seq := await put(store, *data.shop()))
        harm(path)
        async with following(path, store.bus) as projection:
            await reached(projection, seq)
            assert projection.get(ServiceRecord, "shop", "web") is not None

    with_store(tmp_path, story)


def test_another_store_is_noticed_and_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"

    async def before(store: Store) -> None:
        async with following(path, store.bus) as projection:
            await reached(projection, await put(store, *data.shop()))

    async def after(store: Store) -> None:
        seq = await put(store, data.run(9, "running"))
        async with following(path, store.bus) as projection:
            await projection.moved.wait()
            await reached(projection, seq)
            assert [run.id for run in projection.find(Run)] == ["r-9"]

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with_store(tmp_path / "a", before)
    with_store(tmp_path / "b", after)


def test_a_record_of_a_later_version_is_passed_over(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        await store.bus.append("st.unheardof.x", b"{}")
        await store.bus.append(Run.subject_of("r-0"), b"not json")
        async with following(tmp_path / "p.sqlite", store.bus) as projection:
            await reached(projection, await put(store, data.run(1, "running")))
            assert len(projection.find(Run)) == 1

    with_store(tmp_path, story)


def test_a_record_that_is_superseded_before_it_is_read_holds_nothing_up(tmp_path: Path) -> None:
    async def story(store: Store) -> None:
        async with following(tmp_path / "p.sqlite", store.bus) as projection:
            for number in range(60):
                twice = (data.run(1, "running"), data.run(2, "running"))
                again = (msgspec.structs.replace(one, reason=str(number)) for one in (*twice, *twice))
                changes = tuple(Change(one, None) for one in again)
                await store.commit(Step(changes))
                entry = await store.bus.get(twice[1].subject)
                assert entry is not None
                async with asyncio.timeout(60):
                    await reached(projection, entry.seq)

    with_store(tmp_path, story)


def test_what_belongs_to_one_release_is_read_by_the_index_of_releases(tmp_path: Path) -> None:
    steps: list[str] = []

    async def story(store: Store) -> None:
        tried = [
            replace(data.deployment(1, data.IMAGE1, data.SHA1, data.AT1, "running"), id=f"d-{number}", release=release)
            for number, release in enumerate(("shop.web.v1", "shop.web.v2", ""))
        ]
        last = await put(store, *tried, data.release(1, data.IMAGE1, data.SHA1, data.AT1))
        async with following(tmp_path / "p.sqlite", store.bus) as projection:
            await reached(projection, last)
            found = projection.find(Deployment, release="shop.web.v1")
        with contextlib.closing(sqlite3.connect(tmp_path / "p.sqlite")) as file:
            where = " AND ".join(conditions(("project", "release")))
            query = f"EXPLAIN QUERY PLAN SELECT json FROM records WHERE {where} ORDER BY created_at"  # noqa: S608 - columns of this test
            steps.extend(row[-1] for row in file.execute(query, ("deployment", "shop", "shop.web.v1")))

        assert [one.id for one in found] == ["d-0"]

    with_store(tmp_path, story)

    assert "USING INDEX by_release" in steps[0]
