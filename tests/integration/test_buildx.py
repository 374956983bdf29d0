"""Builds through docker's buildx, the real plugin, on a real BuildKit daemon: no docker daemon is needed for that."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.build_log import LogLine
from pipeline.builders import BuildFailed, BuildJob, Built, Cache, Limits
from pipeline.builders.buildkit import Buildkit
from pipeline.builders.buildkit_daemon import DaemonFacts
from pipeline.builders.buildx_commands import Buildx, told
from pipeline.process import run
from pipeline.registry import Registry
from tests.support.buildkit import running_buildkitd
from tests.support.components import needs
from tests.support.registry import running_registry

BASE = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildx]:
    """A docker folder of its own, with the plugin and a builder that is in use."""
    docker, plugin = needs("docker"), needs("docker-buildx")
    config = tmp_path_factory.mktemp("docker")
    (config / "cli-plugins").mkdir()
    (config / "cli-plugins/docker-buildx").symlink_to(plugin)
    tool = Buildx(docker, config)
    with running_buildkitd() as daemon:
        words = ("buildx", "create", "--use", "--name", "test", "--driver", "remote", daemon.address)
        asyncio.run(run((docker, *words), timeout=120, env=tool.around))
        yield tool


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def build(
    tool: Buildx, folder: Path, registry: str, text: str, *, log: list[bytes], cache: Cache | None,
    pins: Mapping[str, str] | None = None,
) -> Built:  # fmt: skip
    shutil.copy(needs("busybox"), folder / "busybox")
    (folder / "Dockerfile").write_text(text)
    (folder / "npm").write_text("s3cret-of-npm")
    job = BuildJob(
        folder, f"{registry}/shop/web", "run-1", 1_700_000_000, plain_http=True, cache=cache,
        secrets={"NPM": folder / "npm"}, pins=pins or {},
    )  # fmt: skip

    async def keep(line: LogLine) -> None:
        log.append(line.text)

    async def story() -> Built:
        facts = DaemonFacts("0.34.2", ("linux/amd64",), "private", rootless=False)
        builder = Buildkit(tool, facts, folder.parent / "state", Limits(seconds=60), network="private", cage=None)
        await builder.sweep()
        try:
            return await builder.build(job, keep)
        finally:
            await builder.close()
            await builder.collect(1 << 40)

    return asyncio.run(story())


def test_an_image_is_built_pushed_and_cached(tool: Buildx, registry: str, tmp_path: Path) -> None:
    folder, log = tmp_path / "sources", list[bytes]()
    folder.mkdir()
    place = f"{registry}/shop/web/cache:main"
    step = "RUN --mount=type=secret,id=NPM /bin/busybox test -s /run/secrets/NPM && echo from inside\n"

    built = build(tool, folder, registry, BASE + step, log=log, cache=Cache((place,), place))

    assert b"from inside" in log
    assert asyncio.run(digests(registry)) == (built.digest, True)
    again = build(tool, folder, registry, BASE + step, log=log, cache=Cache((place,), place))
    assert again.digest == built.digest
    assert all(one.cached for one in again.report.own())


def test_a_base_image_is_pinned_and_the_cache_is_brought_down(tool: Buildx, registry: str, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    base = build(tool, folder, registry, BASE, log=[], cache=None)
    name = f"{registry}/shop/web:run-1"
    build(tool, folder, registry, BASE + "RUN echo moved > /x\n", log=[], cache=None)

    built = build(tool, folder, registry, f"FROM {name}\nRUN true\n", log=[], cache=None, pins={name: base.digest})
    pruned = asyncio.run(run(tool.prune(1 << 20), timeout=60, env=tool.around))

    assert built.bases[name] == base.digest
    assert b"Total:" in pruned.stdout


def test_a_failing_step_is_told_with_its_code_and_last_lines(tool: Buildx, registry: str, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()

    with pytest.raises(BuildFailed) as caught:
        build(tool, folder, registry, BASE + "RUN echo no such table >&2; exit 7\n", log=[], cache=None)

    assert (caught.value.reason, caught.value.exit_code) == ("build_failed", 7)
    assert "no such table" in caught.value.message
    assert list((tmp_path / "state").iterdir()) == []


def test_what_the_builder_is_can_be_asked(tool: Buildx) -> None:
    done = asyncio.run(run(tool.inspect(), timeout=120, env=tool.around))

    version, platforms = told(done.stdout.decode())
    assert version
    assert "linux/amd64" in platforms


async def digests(registry: str) -> tuple[str, bool]:
    """The image's own digest, and whether a cache was written."""
    async with Registry(registry, plain_http=True) as client:
        image = await client.manifest("shop/web", "run-1")
        cache = await client.manifest("shop/web/cache", "main")
    assert image is not None
    return image.digest, cache is not None
