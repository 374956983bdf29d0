"""Builds by the real ``pack`` through podman's Docker API, in a store that is the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.build_log import LogLine
from pipeline.builders import BuildFailed, BuildJob, Built, Limits
from pipeline.builders.pack import Pack, Tool
from pipeline.errors import EncliiError, Refused, Unavailable
from pipeline.process import SEARCH_PATH, orphan_proof
from pipeline.registries import Registries
from tests.support.buildpacks import push_builder, push_run_image
from tests.support.components import needs
from tests.support.images import digest_of
from tests.support.registry import running_registry

LIMITS = Limits(seconds=60, stall=30)
CONTAINERS = """[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def tool(registry: str) -> Iterator[Tool]:
    program = needs("pack", "podman", "runc", "buildah", "busybox")
    with _docker_api(registry) as address:
        yield Tool(program, "test", address)


@contextlib.contextmanager
def _docker_api(registry: str) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="pk-"))  # short, as podman wants its run folder
    (folder / "containers.conf").write_text(CONTAINERS)
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    podman = ("podman", "--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "overlay")
    env = {
        "PATH": SEARCH_PATH, "HOME": str(folder), "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
    }  # fmt: skip
    address = f"unix://{folder}/s"
    service = subprocess.Popen(
        orphan_proof((*podman, "system", "service", "--time", "0", address)), env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (folder / "s").exists():
            assert service.poll() is None, "podman's API did not start"
            assert time.monotonic() < deadline, "podman's API does not answer"
            time.sleep(0.05)  # podman says nowhere else that it listens
        yield address
    finally:
        subprocess.run((*podman, "rm", "--all", "--force", "--time", "0"), env=env, capture_output=True, check=False)
        service.terminate()
        service.wait(60)
        subprocess.run(("umount", str(folder / "root/overlay")), capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


class World:
    def __init__(self, tool: Tool, registry: str, image: str, folder: Path) -> None:
        self.tool, self.registry, self.image, self.folder = tool, registry, image, folder
        self.lines: list[bytes] = []
        sources = folder / "sources"
        sources.mkdir()
        (sources / "start").write_text("httpd -f\n")
        self.job = BuildJob(sources, f"{registry}/shop/web", "run-1", 1_700_000_000, plain_http=True)

    def build(self, *, limits: Limits = LIMITS, **more: object) -> Built:
        registries = Registries(plain_http=frozenset({self.registry}))
        builder = Pack(self.tool, limits, self.folder / "state", listed=(self.image,), registries=registries)

        async def story() -> Built:
            await builder.sweep()
            return await builder.build(replace(self.job, **more), self._keep)  # type: ignore[arg-type]

        return asyncio.run(story())

    def failure(self, *, limits: Limits = LIMITS, **more: object) -> EncliiError:
        with pytest.raises(EncliiError) as caught:
            self.build(limits=limits, **more)
        assert not list((self.folder / "state").glob("pack-*"))
        return caught.value

    async def _keep(self, line: LogLine) -> None:
        self.lines.append(line.text)


@pytest.fixture(scope="module")
def image(tool: Tool, registry: str) -> str:
    push_run_image(registry)
    return push_builder(registry)


@pytest.fixture
def world(tool: Tool, registry: str, image: str, tmp_path: Path) -> World:
    return World(tool, registry, image, tmp_path)


def test_the_digest_is_what_the_registry_holds_and_variables_arrive(world: World) -> None:
    built = world.build(arguments={"GREETING": "hello"})

    assert built.digest == digest_of(world.registry, "shop/web", "run-1")
    assert built.bases == {world.image: digest_of(world.registry, "builders/small", "1")}
    assert [step.name for step in built.report.steps] == ["[analyzing]", "[detecting]", "[building]", "[exporting]"]
    assert any(b"greeting is hello" in line for line in world.lines)


def test_sources_that_no_buildpack_takes_fail_for_good(world: World) -> None:
    (world.job.context / "start").unlink()

    error = world.failure()

    assert (error.reason, isinstance(error, BuildFailed)) == ("buildpacks_none_detected", True)


def test_a_hanging_buildpack_ends(world: World) -> None:
    (world.job.context / "hang").touch()

    assert world.failure(limits=replace(LIMITS, stall=4)).reason == "build_stalled"


def test_a_daemon_that_is_away_is_tried_again_and_a_fork_refused(world: World) -> None:
    assert isinstance(world.failure(trusted=False), Refused)
    world.tool = replace(world.tool, docker_host="unix:///nonexistent/socket")

    assert isinstance(world.failure(), Unavailable)
