"""What commands in running replicas must keep on every cluster, in the form of ``cluster_contract``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from gitops.clusters import Exited, Size, Typed
from pipeline.errors import NotFound
from tests.contract.cluster_contract import LIMIT, Service, World, a_service


async def said(service: Service, typed: Sequence[Typed], *command: str, **more: Any) -> tuple[str, str, int]:
    """What a command printed on each stream, and its exit code; it is typed to until its input ends."""

    async def typing() -> AsyncIterator[Typed]:
        for one in typed:
            yield one

    found: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    async with asyncio.timeout(LIMIT):
        async for one in service.world.cluster.execute(service.ref, command, typing(), **more):
            if isinstance(one, Exited):
                return found["stdout"].decode(), found["stderr"].decode(), one.code
            found[one.stream] += one.data
    raise AssertionError("the command ended without an exit code")


@contextlib.asynccontextmanager
async def a_running_service(world: World) -> AsyncIterator[Service]:
    async with a_service(world) as service:
        wanted = service.wanted()
        await world.cluster.start(wanted)
        await world.cluster.wait_healthy(wanted, timeout=LIMIT)
        yield service


def test_a_command_reads_its_input_to_the_end_and_passes_streams_and_exit_code_through(world: World) -> None:
    async def go() -> None:
        async with a_running_service(world) as service:
            script = "cat; echo problem >&2; exit 7"
            ended = await said(service, [b"one\n", b"two\n"], "/bin/sh", "-c", script)

            assert ended == ("one\ntwo\n", "problem\n", 7)

    asyncio.run(go())


def test_a_command_on_a_terminal_knows_its_size_and_hears_of_a_new_one(world: World) -> None:
    async def go() -> None:
        async with a_running_service(world) as service:
            script = b'stty size; until [ "$(stty size)" = "40 132" ]; do sleep 0.1; done; exit 5\n'
            out, _, code = await said(service, [script, Size(40, 132)], "/bin/sh", terminal=Size(24, 80))

            assert code == 5
            assert "sleep" in out, "a terminal shows what is typed"

    asyncio.run(go())


def test_a_program_that_is_not_there_ends_as_in_a_shell(world: World) -> None:
    async def go() -> None:
        async with a_running_service(world) as service:
            _, err, code = await said(service, [], "/no/such/program")

            assert code == 127
            assert "/no/such/program" in err

    asyncio.run(go())


def test_a_command_needs_a_replica_that_runs(world: World) -> None:
    async def go() -> None:
        async with a_running_service(world) as service:
            with pytest.raises(NotFound) as caught:
                await said(service, [], "/bin/true", replica="another")

            assert caught.value.reason == "no_replica"

    asyncio.run(go())


def test_much_output_arrives_whole(world: World) -> None:
    async def go() -> None:
        async with a_running_service(world) as service:
            out, _, code = await said(service, [], "/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")

            assert (len(out), set(out), code) == (3_000_000, {"x"}, 0)

    asyncio.run(go())
