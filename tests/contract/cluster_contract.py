"""What every cluster must keep, written once; an adapter's own test module imports these tests and gives the fixtures.

``world`` offers the cluster and a way to push images; each test has a service of its own and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

from gitops.clusters import Cluster, Hint, LogLine, Observation, Replica, ServiceRef, Wanted
from gitops.rendering.workload import SETTLED_SECONDS
from pipeline.errors import EncliiError, Permanent
from tests.contract.documents import replace_count, with_image, with_volumes

LIMIT = 120.0
SHORT = 2.0
"""A deadline that is to be missed, again and again until the cluster has found out why."""
SAY_AND_STAY = "echo one; echo two >&2; exec sleep 1000"
SAY_AND_DIE = "echo about to fail >&2; exit 3"
COUNT = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; exec sleep 1000"
DIE_ONCE = "echo begin; sleep 2; echo end; exit 1"


class World(Protocol):
    """What an adapter's test module provides."""

    @property
    def cluster(self) -> Cluster: ...

    @property
    def pod(self) -> dict[str, Any]:
        """What every pod of this cluster's tests has besides its container."""
        ...

    @property
    def streams(self) -> bool:
        """Whether the cluster tells stdout from stderr."""
        ...

    def image(self, page: str) -> str: ...

    async def fetch(self, replica: Replica) -> str: ...

    async def interrupt_start(self, wanted: Wanted) -> None: ...

    async def left(self, ref: ServiceRef) -> list[str]: ...

    async def close(self) -> None:
        """End what belongs to the test's own event loop."""
        ...


@dataclass(frozen=True)
class Service:
    """One service of one test."""

    ref: ServiceRef
    world: World

    def wanted(
        self, deployment: str = "d1", *, page: str = "one", replicas: int = 1, path: str = "/", **container: Any
    ) -> Wanted:
        image = self.world.image(page)
        ports = [] if "command" in container else [{"containerPort": 8080}]
        probe = {"readinessProbe": {"httpGet": {"path": path, "port": 8080}}} if ports else {}
        settled = {} if ports else {"minReadySeconds": SETTLED_SECONDS}  # as the committer renders it
        one = {"name": "web", "image": image, "ports": ports, **probe, **container}
        document = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.ref.service},
            "spec": {"replicas": replicas, **settled, "template": {"spec": {**self.world.pod, "containers": [one]}}},
        }
        return Wanted(self.ref, deployment=deployment, release=f"v-{deployment}", image=image, documents=(document,))

    def script(self, text: str, deployment: str = "d1") -> Wanted:
        return self.wanted(deployment, command=["/bin/sh", "-c", text])


@contextlib.asynccontextmanager
async def a_service(world: World) -> AsyncIterator[Service]:
    service = Service(ServiceRef(f"shop-{uuid4().hex[:8]}", "production", "web"), world)
    try:
        yield service
    finally:
        await world.cluster.remove(service.ref, grace=0)
        await world.close()


async def until(ask: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT):
        while not await ask():  # noqa: ASYNC110 - the condition lives in another process
            await asyncio.sleep(0.05)


async def gives_up(world: World, wanted: Wanted, reason: str, *, about: str = "") -> Permanent:
    """Start what cannot run; how it ends, once it is given up for that reason: a busy machine takes its time there."""
    try:
        await world.cluster.start(wanted)
    except Permanent as error:  # where the image is pulled by the start itself
        if error.reason != reason:
            raise
        return error
    loop = asyncio.get_running_loop()
    deadline, last = loop.time() + LIMIT, ""
    while loop.time() < deadline:
        try:
            await world.cluster.wait_healthy(wanted, timeout=SHORT)
        except EncliiError as error:
            last = f"{error.reason}: {error.message}"
            if isinstance(error, Permanent) and error.reason == reason and about in error.message:
                return error
        else:
            raise AssertionError(f"{wanted.ref} is healthy; before that {last}")
    raise AssertionError(f"not given up as {reason}, but {last}")


async def only(world: World, ref: ServiceRef) -> Observation:
    (one,) = await world.cluster.observe(ref)
    return one


def texts(lines: Sequence[LogLine]) -> list[str]:
    return [line.text.decode() for line in lines]


def test_a_started_service_becomes_healthy_and_shows_the_digest_that_runs(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.wanted(page="hello")
            await world.cluster.start(wanted)
            await world.cluster.wait_healthy(wanted, timeout=LIMIT)

            (replica,) = (await only(world, service.ref)).replicas
            assert (replica.state, replica.digest) == ("ready", wanted.digest)
            assert "hello" in await world.fetch(replica)

    asyncio.run(go())


def test_starting_twice_makes_nothing_twice(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.wanted(replicas=2)
            await world.cluster.start(wanted)
            await world.cluster.wait_healthy(wanted, timeout=LIMIT)
            before = await only(world, service.ref)
            await world.cluster.start(wanted)

            after = await only(world, service.ref)
            assert len(after.replicas) == 2
            assert [one.started_at for one in after.replicas] == [one.started_at for one in before.replicas]

    asyncio.run(go())


def test_the_old_deployment_serves_until_the_new_one_is_healthy(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            old, new = service.wanted("d1", page="old"), service.wanted("d2", page="new")
            await world.cluster.start(old)
            await world.cluster.wait_healthy(old, timeout=LIMIT)
            await world.cluster.start(new)
            ready = asyncio.ensure_future(world.cluster.wait_healthy(new, timeout=LIMIT))
            while not ready.done():
                assert await _ready(world, service.ref) >= 1
                await asyncio.wait({ready}, timeout=0.1)
            await ready

            await world.cluster.stop(service.ref, keep=frozenset({"d2"}), grace=0)
            await until(lambda: _deployments(world, service.ref, ["d2"]))
            (replica,) = (await only(world, service.ref)).replicas
            assert "new" in await world.fetch(replica)

    asyncio.run(go())


def test_the_same_release_can_be_deployed_a_second_time(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            first = service.wanted("d1")
            again = replace(first, deployment="d2")
            await world.cluster.start(first)
            await world.cluster.start(again)
            await world.cluster.wait_healthy(again, timeout=LIMIT)
            await world.cluster.stop(service.ref, keep=frozenset({"d2"}), grace=0)

            assert [one.deployment for one in await world.cluster.observe(service.ref)] == ["d2"]

    asyncio.run(go())


def test_a_crash_loop_is_stopped_and_told_with_its_last_words(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.script(SAY_AND_DIE)
            await gives_up(world, wanted, "crash_loop", about="about to fail")

            await until(lambda: _failing(world, service.ref, 3))

    asyncio.run(go())


def test_a_health_path_that_is_not_there_is_unhealthy(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.wanted(path="/missing")
            await gives_up(world, wanted, "unhealthy", about="404")

    asyncio.run(go())


def test_an_image_that_nobody_pushed_is_a_permanent_failure(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.wanted()
            missing = with_image(wanted, wanted.image.partition("@")[0] + "@sha256:" + "0" * 64)
            await gives_up(world, missing, "image_missing")

            assert await _ready(world, service.ref) == 0

    asyncio.run(go())


def test_the_last_lines_of_a_removed_replica_are_kept(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script(COUNT))
            await until(lambda: _said(world, service.ref, "line 299"))
            (dead,) = await world.cluster.remove(service.ref, grace=0)

            assert texts(dead.lines) == [f"line {number}" for number in range(100, 300)]

    asyncio.run(go())


def test_both_streams_of_all_replicas_are_read(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(replace_count(service.script(SAY_AND_STAY), 2))
            await until(lambda: _count(world, service.ref, 4))
            found = [line async for line in world.cluster.logs(service.ref)]

            said = sorted((line.text, line.stream) for line in found)
            two = "stderr" if world.streams else "stdout"
            assert said == [(b"one", "stdout"), (b"one", "stdout"), (b"two", two), (b"two", two)]
            assert len({line.replica for line in found}) == 2

    asyncio.run(go())


def test_lines_are_read_from_the_end_and_from_a_moment_on(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script("echo one; echo two; sleep 2; echo three; exec sleep 1000"))
            await until(lambda: _said(world, service.ref, "three"))
            every = [line async for line in world.cluster.logs(service.ref)]
            later = datetime.fromtimestamp(every[1].time / 1e9 + 1.0, UTC)

            assert texts(every) == ["one", "two", "three"]
            assert texts([line async for line in world.cluster.logs(service.ref, tail=2)]) == ["two", "three"]
            assert texts([line async for line in world.cluster.logs(service.ref, since=later)]) == ["three"]

    asyncio.run(go())


def test_following_goes_on_through_restarts_without_loss_or_repetition(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script(DIE_ONCE))
            followed: list[LogLine] = []
            async with asyncio.timeout(LIMIT):
                async for line in world.cluster.logs(service.ref, follow=True):
                    followed.append(line)
                    if len(followed) == 5:
                        break

            assert texts(followed) == ["begin", "end", "begin", "end", "begin"]

    asyncio.run(go())


def test_following_shows_replicas_that_come_later(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(service.script("echo old; exec sleep 1000", "d1"))
            seen: set[str] = set()
            async with asyncio.timeout(LIMIT):
                async for line in world.cluster.logs(service.ref, follow=True):
                    seen.add(line.text.decode())
                    if seen == {"old"}:
                        await world.cluster.start(service.script("echo new; exec sleep 1000", "d2"))
                    if seen == {"old", "new"}:
                        break

    asyncio.run(go())


def test_a_start_that_was_killed_in_the_middle_is_finished_by_the_next(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.wanted()
            await world.interrupt_start(wanted)
            await world.cluster.start(wanted)
            await world.cluster.wait_healthy(wanted, timeout=LIMIT)

            assert len((await only(world, service.ref)).replicas) == 1

    asyncio.run(go())


async def _hint_at(ref: ServiceRef, hints: AsyncIterator[Hint]) -> bool:
    """True once there is one; a cluster that others use too has hints of theirs."""
    async for hint in hints:
        if hint.ref == ref:
            return True
    return False


def test_events_hint_at_what_happened(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service, contextlib.aclosing(world.cluster.events()) as hints:  # type: ignore[type-var]
            told = asyncio.ensure_future(_hint_at(service.ref, hints))
            number = 0
            async with asyncio.timeout(LIMIT):
                while not told.done():  # the watcher may not be listening yet: hints may be lost, never needed
                    number += 1
                    await world.cluster.start(service.script("exec sleep 1000", f"d{number}"))
                    await asyncio.wait({told}, timeout=1)

            assert told.result()

    asyncio.run(go())


def test_removing_leaves_nothing(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            await world.cluster.start(with_volumes(service.wanted(replicas=2)))
            await world.cluster.remove(service.ref, grace=0)

            assert await world.cluster.observe(service.ref) == []
            assert await world.left(service.ref) == []
            assert await world.cluster.remove(service.ref, grace=0) == []

    asyncio.run(go())


async def _ready(world: World, ref: ServiceRef) -> int:
    seen = await world.cluster.observe(ref)
    return sum(replica.state == "ready" for one in seen for replica in one.replicas)


async def _failing(world: World, ref: ServiceRef, code: int) -> bool:
    """Between two tries a replica runs for a moment."""
    (replica,) = (await only(world, ref)).replicas
    return (replica.state, replica.exit_code) == ("failing", code)


async def _deployments(world: World, ref: ServiceRef, wanted: list[str]) -> bool:
    return [one.deployment for one in await world.cluster.observe(ref)] == wanted


async def _lines(world: World, ref: ServiceRef) -> list[str]:
    return [line.text.decode() async for line in world.cluster.logs(ref)]


async def _said(world: World, ref: ServiceRef, text: str) -> bool:
    return text in await _lines(world, ref)


async def _count(world: World, ref: ServiceRef, count: int) -> bool:
    return len(await _lines(world, ref)) == count
