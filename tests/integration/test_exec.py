"""``enclii exec`` from the program to a real container and back: podman, NATS, the relay, the API, all of them real."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from gitops.clusters import Cluster, ServiceRef, podman_host
from gitops.clusters.exec_relay import ExecRelay
from gitops.clusters.podman import Podman
from pipeline.records import Decision, Project
from pipeline.talk import Talk, Terminal, talk
from tests.contract.cluster_contract import LIMIT, Service
from tests.contract.test_podman_contract import PodmanWorld
from tests.integration import console_records as data
from tests.integration.console_server import TOKEN, Console, with_console
from tests.support.components import needs
from tests.support.registry import running_registry

PROGRAM = (sys.executable, "-c", "from console.cli import main; main()")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class One:
    """A choice of clusters that has one."""

    cluster: Cluster

    async def of(self, _: ServiceRef) -> Cluster:
        return self.cluster


@dataclass(frozen=True)
class Desk:
    """A console beside a service that runs."""

    console: Console
    cluster: Cluster
    cwd: Path

    def enclii(self, *arguments: str, terminal: Terminal | None = None) -> contextlib.AbstractAsyncContextManager[Talk]:
        env = {"ENCLII_SERVER": self.console.url, "ENCLII_TOKEN": TOKEN, "PYTHONPATH": str(ROOT), "HOME": str(self.cwd)}
        return talk((*PROGRAM, "exec", "web", "-e", "production", *arguments), env=env, terminal=terminal)

    async def ended(self, *arguments: str, typed: bytes = b"") -> tuple[bytes, bytes, int]:
        async with self.enclii(*arguments) as program:
            out, err, _ = await asyncio.gather(_all(program, "stdout"), _all(program, "stderr"), _typed(program, typed))
            return out, err, await program.wait()

    async def decision(self, ending: str) -> Decision:
        """The decision on a command, once its text says so."""
        while True:
            for one in await self.console.store.all(Decision):
                if one.reason == "exec" and ending in one.message:
                    return one
            await asyncio.sleep(0.05)


async def _all(program: Talk, stream: str) -> bytes:
    found = b""
    while some := await program.read(stream):
        found += some
    return found


async def _typed(program: Talk, data: bytes) -> None:
    await program.write(data)
    await program.end_typing()


async def _until(program: Talk, text: bytes) -> bytes:
    found = b""
    while text not in found:
        some = await program.read("stdout")
        assert some, f"{text!r} was never shown, but {found!r}"
        found += some
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanWorld]:
    needs("podman", "buildah", "docker-registry", "busybox", "nats-server")
    folder: Path = tmp_path_factory.mktemp("exec")
    instance = f"test-{uuid4().hex[:10]}"
    conf = podman_host.write_configuration(folder)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **podman_host.environment(conf, None)}
    with running_registry(folder / "registry") as registry:
        yield PodmanWorld(Podman(instance=instance, containers_conf=conf), instance, registry, env)


def with_desk(world: PodmanWorld, tmp: Path, story: Callable[[Desk], Awaitable[None]]) -> None:
    async def go(console: Console) -> None:
        service = Service(ServiceRef("shop", "production", "web"), world)
        await console.put(*data.shop())
        relay = asyncio.create_task(ExecRelay(console.store, One(world.cluster)).run())
        try:
            wanted = service.wanted()
            await world.cluster.start(wanted)
            await world.cluster.wait_healthy(wanted, timeout=LIMIT)
            await story(Desk(console, world.cluster, tmp))
        finally:
            relay.cancel()
            await asyncio.gather(relay, return_exceptions=True)
            await world.cluster.remove(service.ref, grace=0)

    with_console(tmp, go)


def test_pipes_and_the_exit_code_pass_through_and_the_decision_has_neither_input_nor_arguments(
    world: PodmanWorld, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        typed = b"typed-by-hand\n" * 20_000
        out, err, code = await desk.ended("--", "/bin/sh", "-c", "cat; echo argued >&2; exit 7", typed=typed)
        assert (out, err, code) == (typed, b"argued\n", 7)

        found = await desk.decision("ended with 7 after")
        assert (found.actor, found.service, found.outcome) == ("deployer", "web", "accepted")
        stored = msgspec.json.encode(found)
        assert b"typed-by-hand" not in stored
        assert b"argued" not in stored

    with_desk(world, tmp_path, story)


def test_a_terminal_passes_keys_and_its_size_through(world: PodmanWorld, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        async with desk.enclii("--", "/bin/sh", terminal=(31, 101)) as program:
            await program.write(b"stty size\n")
            await _until(program, b"31 101")
            program.resize((40, 132))
            await program.write(b'until [ "$(stty size)" = "40 132" ]; do sleep 0.1; done; echo re""sized\n')
            await _until(program, b"resized")
            await program.write(b"exit 5\n")
            await _all(program, "stdout")
            assert await program.wait() == 5

    with_desk(world, tmp_path, story)


def test_an_interrupt_ends_the_command_where_it_runs(world: PodmanWorld, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        async with desk.enclii("--", "/bin/sh", "-c", "echo begun; exec sleep 7777") as program:
            await _until(program, b"begun")
            program.signal(signal.SIGINT)
            assert await program.wait() == 130

        await desk.decision("was ended")
        out, _, _ = await desk.ended("--", "/bin/ps")
        assert b"7777" not in out

    with_desk(world, tmp_path, story)


def test_a_replica_is_chosen_as_ps_counts_them_and_an_unknown_one_is_exit_five(
    world: PodmanWorld, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        out, err, code = await desk.ended("--replica", "web.9", "--", "/bin/true")
        assert (out, code) == (b"", 5)
        assert b"no_replica" in err

    with_desk(world, tmp_path, story)


def test_where_a_project_names_the_role_its_people_alone_may(world: PodmanWorld, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        found = await desk.console.store.get(Project, "shop")
        assert found is not None
        await desk.console.put(msgspec.structs.replace(found.record, roles={"exec": ("ann",)}))
        _, err, code = await desk.ended("--", "/bin/true")
        assert code == 6
        assert b"not_in_role" in err
        assert (await desk.decision("was refused")).outcome == "refused"

    with_desk(world, tmp_path, story)
