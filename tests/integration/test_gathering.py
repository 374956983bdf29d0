"""Deliveries that wait at the same time share a batch on a real nats-server, and each still has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from pipeline.bus import Bus, Full, Write, connect
from pipeline.entries import STREAMS
from pipeline.errors import Unavailable
from pipeline.events import Delivery
from pipeline.gathering import Gathering
from pipeline.store import Store
from tests.support.nats import running_nats, running_server


class Counting(Bus):
    """Remembers how many writes each commit had."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus._client)
        self.sizes: list[int] = []

    async def commit(self, *writes: Write) -> int:
        self.sizes.append(len(writes))
        return await super().commit(*writes)


Scenario = Callable[[Gathering, Counting], Awaitable[None]]


def delivery(name: str, body: bytes = b"") -> Delivery:
    return Delivery(
        id=f"github:shop:{name}", at="", forge="github", kind="push", hook="shop", repository="github:1", body=body,
        body_sha256="", secret_id="new",
    )  # fmt: skip


async def scene(url: str, scenario: Scenario) -> None:
    bus = Counting(await connect(url, name="test", wait=60.0))
    try:
        await bus.create_streams()
        await scenario(Gathering(Store(bus)), bus)
    finally:
        await bus.close()


def gathered(tmp: Path, scenario: Scenario) -> None:
    with running_nats(tmp) as url:
        asyncio.run(scene(url, scenario))


async def published(gathering: Gathering, names: Sequence[str]) -> list[int | None]:
    return await asyncio.gather(*(gathering.publish(delivery(name)) for name in names))


def test_what_waits_together_is_written_in_few_batches_and_each_hears_its_own_sequence(tmp_path: Path) -> None:
    async def scenario(gathering: Gathering, bus: Counting) -> None:
        names = [f"{number:08}" for number in range(200)]
        sequences = await published(gathering, names)
        stored = {entry.subject: entry.seq for entry in await bus.scan("hooks.>")}
        assert sequences == [stored[delivery(name).subject] for name in names]
        assert len(bus.sizes) <= 4

    gathered(tmp_path, scenario)


def test_one_that_comes_alone_waits_for_nobody(tmp_path: Path) -> None:
    async def scenario(gathering: Gathering, bus: Counting) -> None:
        assert [await gathering.publish(delivery(name)) for name in ("alone-one", "alone-two", "alone-one")] == [
            1, 2, None]  # fmt: skip
        assert bus.sizes == [1, 1, 1]

    gathered(tmp_path, scenario)


def test_a_known_delivery_in_a_batch_keeps_no_other_from_being_stored(tmp_path: Path) -> None:
    async def scenario(gathering: Gathering, bus: Counting) -> None:
        await gathering.publish(delivery("known-one"))
        found = await published(gathering, ["fresh-one", "known-one", "fresh-two", "fresh-one", "fresh-three"])
        new = [sequence is not None for sequence in found]
        assert (new[1], new[2], new[4]) == (False, True, True)
        assert new[0] != new[3]  # of the one that came twice at once either is the first
        assert len(await bus.scan("hooks.>")) == 4

    gathered(tmp_path, scenario)


def test_who_comes_while_the_last_batch_is_told_is_written_too(tmp_path: Path) -> None:
    async def scenario(_: Gathering, bus: Counting) -> None:
        alone = Gathering(Store(bus), at_once=1)  # so whoever comes next finds the one writer in the act of leaving

        async def one_after_the_other() -> list[int | None]:
            return [await alone.publish(delivery(f"{number:08}")) for number in range(25)]

        assert await asyncio.wait_for(one_after_the_other(), 60) == list(range(1, 26))

    gathered(tmp_path, scenario)


def test_two_that_gather_apart_take_one_delivery_once(tmp_path: Path) -> None:
    async def scenario(gathering: Gathering, bus: Counting) -> None:
        other = Gathering(Store(bus))
        names = [f"{number:08}" for number in range(40)]
        ours, theirs = await asyncio.gather(published(gathering, names), published(other, names[::-1]))
        assert all((one is None) != (two is None) for one, two in zip(ours, theirs[::-1], strict=True))
        assert len(await bus.scan("hooks.>")) == 40

    gathered(tmp_path, scenario)


def test_a_stream_that_takes_no_batches_gets_one_after_the_other(tmp_path: Path) -> None:
    async def scenario(gathering: Gathering, bus: Counting) -> None:
        await bus.create("HOOKS", STREAMS["HOOKS"] | {"allow_atomic": False})  # what an older version makes of it
        found = await published(gathering, [f"{number:08}" for number in range(20)])
        assert sorted(found, key=str) == sorted(range(1, 21), key=str)

    gathered(tmp_path, scenario)


def test_when_the_store_is_full_or_away_nobody_hears_that_he_was_stored(tmp_path: Path) -> None:
    async def scenario(gathering: Gathering, bus: Counting) -> None:
        await bus.create("HOOKS", STREAMS["HOOKS"] | {"max_bytes": 2_000})
        told = await asyncio.gather(
            *(gathering.publish(delivery(f"{n:08}", b"x" * 400)) for n in range(9)), return_exceptions=True
        )
        stored = [entry.seq for entry in await bus.scan("hooks.>")]
        assert sorted(one for one in told if isinstance(one, int)) == stored
        assert {type(one) for one in told if not isinstance(one, int)} == {Full}
        server.kill()
        server.wait()
        with pytest.raises(Unavailable):
            await gathering.publish(delivery("too-late"))

    with running_server(tmp_path) as (url, server):
        asyncio.run(scene(url, scenario))
