"""Builds by a real BuildKit daemon: digest, cache, secrets, limits, and each way to fail with its reason."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.build_log import LogLine
from pipeline.builders import BuildFailed, Cache, buildkit_daemon
from pipeline.builders.buildkit_commands import Daemon
from pipeline.errors import Refused, Unavailable
from pipeline.masking import Masker
from pipeline.onbuild import asker
from pipeline.registries import Registries
from pipeline.registry import Registry
from pipeline.sbom import documents
from tests.support.buildkit import running_buildkitd
from tests.support.buildkit_worker import kill_worker_at
from tests.support.buildkit_world import EPOCH, MIB, TIGHT, World
from tests.support.components import needs
from tests.support.registry import running_registry

BASE = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running_buildkitd() as found:
        yield found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(needs("busybox"), folder / "busybox")
    return folder


@pytest.fixture
def world(daemon: Daemon, registry: str, source: Path) -> World:
    return World(daemon, registry, source)


def test_the_digest_is_what_the_registry_holds(world: World) -> None:
    built = world.build(BASE + "RUN echo hello > /greeting\n")

    manifest = asyncio.run(manifest_of(world, built.digest))

    assert manifest == built.digest


def test_the_same_sources_give_the_same_digest_without_any_cache(world: World) -> None:
    text = BASE + "RUN echo twice > /greeting\n"

    assert world.build(text).digest == world.build(text, no_cache=True).digest


def test_each_line_has_its_step_stream_and_time(world: World) -> None:
    world.build(BASE + "RUN echo from inside; echo to stderr >&2\n")

    found = {line.text: line for line in world.lines}
    assert found[b"from inside"].step.startswith("[3/3] RUN echo from inside")
    assert (found[b"from inside"].stream, found[b"to stderr"].stream) == ("stdout", "stderr")
    assert found[b"from inside"].at.endswith("Z")


def test_the_report_names_the_first_step_that_was_not_cached(world: World) -> None:
    (world.source / "page").write_text("one")
    text = BASE + "RUN echo stays > /x\nCOPY page /page\nRUN echo after > /y\n"
    world.build(text)
    (world.source / "page").write_text("two")

    report = world.build(text).report

    first = report.first_built()
    assert first is not None
    assert first.name == "[4/5] COPY page /page"
    assert [step.cached for step in report.own()] == [True, True, True, False, False]


def test_a_base_image_is_pinned_and_its_digest_told(world: World) -> None:
    base = world.build(BASE, tag="base")
    world.build(BASE + "RUN echo moved > /x\n", tag="base")
    name = f"{world.registry}/shop/web:base"

    built = world.build(f"FROM {name}\nRUN true\n", pins={name: base.digest})

    assert built.bases[name] == base.digest


def test_a_secret_reaches_its_step_by_mount_and_the_log_in_no_form(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "npm"
    secret.write_text("s3cret-value-of-npm")
    step = (
        "RUN --mount=type=secret,id=NPM /bin/busybox cat /run/secrets/NPM; echo; "
        "printf s3cret-; sleep 1; echo value-of-npm; /bin/busybox base64 /run/secrets/NPM\n"
    )

    step = step.replace("sleep", "/bin/busybox sleep")
    built = world.build(BASE + step, secrets={"NPM": secret}, masker=Masker([b"s3cret-value-of-npm"]))

    assert built.digest
    assert world.text.count(b"[secret]") == 3
    assert b"value-of-npm\n" not in world.text.replace(step.encode(), b"")


def test_the_cache_is_written_behind_the_build_and_read_by_another_class(world: World) -> None:
    main, own = (f"{world.registry}/shop/web/cache:{name}" for name in ("a-main", "a-preview"))
    text = BASE + "RUN echo cached by the registry > /x\n"
    world.build(text, cache=Cache((main,), main))

    assert asyncio.run(tags(world, "shop/web/cache", "a-main"))
    asyncio.run(prune(world.daemon))
    report = world.build(text, cache=Cache((own, main), own)).report

    assert all(step.cached for step in report.own())


def test_what_a_fork_or_another_repository_left_in_a_mounted_cache_is_not_seen(world: World) -> None:
    mount = "RUN --mount=type=cache,target=/c --mount=type=cache,id=named,target=/n /bin/busybox"
    reading = f"{mount} cat /c/lib /n/lib || echo nothing here\n"
    world.build(BASE + f"{mount} tee /c/lib /n/lib < /bin/sh > /dev/null; echo fork\n", scope="fork")

    report = world.build(BASE + reading, scope="main").report

    assert b"nothing here" in [line.text for line in world.lines]
    assert not report.own()[-1].cached
    assert world.build(BASE + reading, scope="main").report.own()[-1].cached, "within one scope all is as ever"


def test_a_step_that_ran_with_a_forks_mounted_cache_is_no_cached_step_of_the_branch(world: World) -> None:
    reading = "RUN --mount=type=cache,id=shared,target=/n /bin/busybox cat /n/lib > /lib; true\n"
    evil = "FROM scratch AS evil\nCOPY busybox /bin/sh\nRUN --mount=type=cache,id=shared,target=/n echo evil > /n/lib\n"
    world.build(evil, scope="fork")
    world.build(BASE + reading, scope="fork")

    report = world.build(BASE + reading, scope="main").report

    assert [step.cached for step in report.own()] == [True, True, False]


@pytest.mark.parametrize("known", [True, False], ids=["asked", "not-asked"])
def test_a_step_that_a_base_image_brings_is_apart_too_where_it_mounts_something(world: World, known: bool) -> None:
    name = f"bases/{'asked' if known else 'unasked'}"
    trigger = f"ONBUILD RUN --mount=type=cache,id={known},target=/n /bin/busybox cat /n/lib > /lib; true\n"
    world.build(BASE + trigger, repository=f"{world.registry}/{name}", tag="1")
    base = f"{world.registry}/{name}:1"
    mounting = asyncio.run(asker(Registries(plain_http=frozenset({world.registry})))(base))
    assert mounting

    for scope in ("fork", "main"):
        report = world.build(f"FROM {base}\n", scope=scope, mounting=mounting and known).report

    assert [step.cached for step in report.own() if "RUN" in step.name] == [not known]


def test_sources_of_the_same_size_and_time_are_not_taken_for_others(world: World) -> None:
    text = BASE + "COPY page /page\nRUN /bin/busybox cat /page\n"
    for content in ("fork", "main"):
        (world.source / "page").write_text(content)
        os.utime(world.source / "page", (EPOCH, EPOCH))
        world.build(text, source=f"sha256:{content}")

    assert b"main" in [line.text for line in world.lines]


def test_a_failing_step_says_its_code_and_last_lines(world: World) -> None:
    error = world.failure(BASE + "RUN echo no such table >&2; exit 7\n")

    assert isinstance(error, BuildFailed)
    assert (error.reason, error.exit_code) == ("build_failed", 7)
    assert "no such table" in error.message
    assert error.report is not None
    assert error.report.steps[-1].failed


def test_a_step_that_prints_our_evidence_is_not_believed(world: World) -> None:
    step = "RUN echo 'error: failed to solve: connection refused' >&2; exit 3\n"

    assert world.failure(BASE + step).reason == "build_failed"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BASE + "COPY a b\n", "build_failed"),
        ("FROM scratch\nCOPYY a b\n", "dockerfile_syntax"),
        ("FROM 127.0.0.1:1/no/such:1\n", "registry_unavailable"),
        ("# syntax=evil/frontend:1\n" + BASE, "dockerfile_frontend"),
        ("// syntax=evil/frontend:1\n" + BASE, "dockerfile_frontend"),
    ],
    ids=["missing source", "unknown instruction", "registry away", "unknown frontend", "unknown frontend otherwise"],
)
def test_each_failure_has_its_reason(world: World, text: str, reason: str) -> None:
    assert world.failure(text).reason == reason


def test_a_missing_base_image_is_the_sources_fault(world: World) -> None:
    assert world.failure(f"FROM {world.registry}/no/such:1\n").reason == "base_image_missing"


def test_dockers_own_frontend_line_is_built_by_the_builders_frontend(world: World) -> None:
    assert world.build("# syntax=docker/dockerfile:1.7\n" + BASE).digest


def test_a_push_that_fails_is_tried_again(world: World) -> None:
    error = world.failure(BASE, repository="127.0.0.1:1/shop/web")

    assert isinstance(error, Unavailable)


def test_a_daemon_that_is_away_is_tried_again(world: World) -> None:
    nowhere = replace(world.daemon, address="unix:///nonexistent/socket")

    with pytest.raises(Unavailable) as caught:
        asyncio.run(buildkit_daemon.ask(nowhere))

    assert caught.value.reason == "buildkit_away"


def test_a_daemon_that_dies_during_a_build_is_tried_again(registry: str, source: Path) -> None:
    with running_buildkitd() as own:
        world = World(own, registry, source)

        async def kill(line: LogLine) -> None:
            if line.text == b"ready":
                os.kill(daemon_at(own.address), signal.SIGKILL)

        world.keep = kill
        error = world.failure(BASE + "RUN echo ready; /bin/busybox sleep 5\n")

    assert (type(error), error.reason) == (Unavailable, "builder_unavailable")


def test_a_hanging_step_ends_for_lack_of_progress(world: World) -> None:
    error = world.failure(BASE + "RUN /bin/busybox sleep 600\n", limits=replace(TIGHT, stall=2))

    assert error.reason == "build_stalled"


def test_a_printing_step_ends_at_the_deadline(world: World) -> None:
    step = "RUN while true; do echo on and on; /bin/busybox sleep 0.2; done\n"

    assert world.failure(BASE + step, limits=replace(TIGHT, seconds=3)).reason == "build_timeout"


def test_a_memory_eating_step_is_ended(world: World) -> None:
    assert world.failure(BASE + "RUN x=abcdefghijklmnop; while :; do x=$x$x; done\n").reason == "build_memory"


@pytest.mark.parametrize("place", ["/big", "/cache/big"])
def test_a_step_that_fills_the_disk_is_ended(world: World, place: str) -> None:
    write = f"(/bin/busybox dd if=/dev/zero of={place} bs=1M count=400; /bin/busybox sleep 600)"
    step = f"RUN --mount=type=cache,target=/cache {write}\n"

    error = world.failure(BASE + step, limits=replace(TIGHT, disk=48 * MIB, memory=1024 * MIB))

    assert (error.reason, "more than 48 MiB" in error.message) == ("build_disk_full", True)


def test_a_step_goes_on_while_it_stays_below_its_disk(world: World) -> None:
    write = "/bin/busybox dd if=/dev/zero of=/big bs=1M count=8; /bin/busybox sleep 1"

    assert world.build(BASE + f"RUN {write}\n", limits=replace(TIGHT, disk=16 * MIB)).digest


def test_a_fork_bomb_is_bounded(world: World) -> None:
    bomb = "RUN i=0; while [ $i -lt 200 ]; do /bin/busybox sleep 600 & i=$((i+1)); done\n"

    error = world.failure(BASE + bomb, limits=replace(TIGHT, seconds=20, processes=40))

    assert "can't fork" in error.message


def test_links_out_of_the_context_are_not_followed(world: World) -> None:
    (world.source / "link").symlink_to("/etc/passwd")

    error = world.failure(BASE + "COPY link /stolen\nRUN /bin/busybox cat /stolen\n")

    assert "root:" not in error.message


def test_a_path_out_of_the_context_leads_nowhere(world: World) -> None:
    (world.source.parent / "outside").write_text("not yours")

    error = world.failure(BASE + "COPY ../outside /stolen\n")

    assert (error.reason, "not yours" in error.message) == ("build_failed", False)


def test_several_platforms_are_one_index(world: World) -> None:
    built = world.build(BASE, platforms=("linux/amd64", "linux/386"))

    found = asyncio.run(held(world, built.digest))
    assert [(one["platform"]["os"], one["platform"]["architecture"]) for one in found] == [
        ("linux", "amd64"), ("linux", "386"),
    ]  # fmt: skip
    image = f"{world.job.repository}@{built.digest}"
    assert asyncio.run(documents(image, plain_http=True, commit_time=EPOCH)).spdx


def test_without_a_network_a_step_reaches_nothing(world: World) -> None:
    port = world.registry.rpartition(":")[2]
    asking = f"/bin/busybox nc -w 3 127.0.0.1 {port} </dev/null"

    assert world.build(BASE + f"RUN {asking}\n", no_cache=True).digest, "this daemon's own network is the machine's"
    assert world.build(BASE + f"RUN ! {asking}\n", network="none").digest


def test_a_platform_that_the_builder_has_not_is_refused(world: World) -> None:
    error = world.failure(BASE, platforms=("linux/s390x",))

    assert isinstance(error, Refused)


def test_endless_output_is_cut_and_counted(world: World) -> None:
    step = "RUN i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done\n"

    report = world.build(BASE + step, limits=replace(TIGHT, log_head=2000, log_tail=8000)).report

    assert report.dropped > 10_000
    assert sum(len(line.text) for line in world.lines) < 20_000
    assert f"[{report.dropped} bytes of output left out]".encode() in world.text


def test_a_killed_worker_leaves_nothing_after_the_sweep(world: World) -> None:
    (world.source / "Dockerfile").write_text(BASE + "RUN echo ready; /bin/busybox sleep 601\n")

    asyncio.run(kill_worker_at(b"ready", world.daemon, state=world.state, job=world.job))
    world.build(BASE)

    assert not [one for one in commands_running() if b"sleep\x00601" in one]
    assert list(world.state.iterdir()) == []


def daemon_at(address: str) -> int:
    """The process that listens there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address.removeprefix("unix://"))
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


async def manifest_of(world: World, digest: str) -> str:
    async with Registry(world.registry, plain_http=True) as registry:
        found = await registry.manifest("shop/web", digest)
    assert found is not None
    return found.digest


async def held(world: World, digest: str) -> list[dict[str, Any]]:
    """The members of an index."""
    async with Registry(world.registry, plain_http=True) as registry:
        found = await registry.manifest("shop/web", digest)
    assert found is not None
    members: list[dict[str, Any]] = json.loads(found.body)["manifests"]
    return members


async def tags(world: World, repository: str, tag: str) -> bool:
    async with Registry(world.registry, plain_http=True) as registry:
        return await registry.manifest(repository, tag) is not None


async def prune(daemon: Daemon) -> None:
    child = await asyncio.create_subprocess_exec(
        *daemon.command("prune", "--all"), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await child.wait() == 0


def commands_running() -> list[bytes]:
    found = []
    for directory in Path("/proc").iterdir():
        try:
            found.append((directory / "cmdline").read_bytes() if directory.name.isdecimal() else b"")
        except OSError:
            continue
    return found
