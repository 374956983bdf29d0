"""Builds by the real buildah, the good ones and those that mean harm; afterwards nothing of them is left."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import cgroup
from pipeline.build_log import LineSink, LogLine
from pipeline.builders import BuildFailed, BuildJob, Built, Limits
from pipeline.builders.buildah import build, collect, sweep
from pipeline.builders.buildah_host import HostFacts, detect
from pipeline.errors import EncliiError, Refused, Unavailable
from pipeline.masking import Masker
from pipeline.registry import Registry
from pipeline.sbom import documents
from tests.support.components import needs
from tests.support.registry import running_registry

BASE = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
MIB = 1 << 20
TIGHT = Limits(seconds=120, memory=96 * MIB, cpus=1, processes=64, disk=64 * MIB, keep_free=64 * MIB)
EPOCH = 1_700_000_000


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostFacts]:
    needs("buildah", "runc", "busybox")
    facts = asyncio.run(detect(tmp_path_factory.mktemp("builder")))
    yield facts
    asyncio.run(sweep(facts))
    shutil.rmtree(facts.state)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    shutil.copy(needs("busybox"), tmp_path / "busybox")
    return tmp_path


async def discard(_line: LogLine) -> None:
    return None


def built(
    source: Path,
    text: str,
    host: HostFacts,
    registry: str,
    *,
    limits: Limits = TIGHT,
    log: LineSink = discard,
    tag: str = "run-1",
    **more: Any,
) -> Built:
    (source / "Dockerfile").write_text(text)
    job = BuildJob(source, f"{registry}/shop/web", tag, EPOCH, plain_http=True, **more)
    return asyncio.run(build(job, host=host, limits=limits, log=log))


def failure(source: Path, text: str, host: HostFacts, registry: str, *, limits: Limits = TIGHT) -> EncliiError:
    with pytest.raises(EncliiError) as caught:
        built(source, text, host, registry, limits=limits)
    assert leftovers(host) == []
    return caught.value


def leftovers(host: HostFacts) -> list[str]:
    """Processes, mounts, working containers, control groups and temporary files of ``host``'s builds."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = [point for point in mounts if point.startswith(f"{host.state}/")]
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            group = (directory / "cgroup").read_text() if directory.name.isdecimal() else ""
            command = (directory / "cmdline").read_bytes() if directory.name.isdecimal() else b""
            if command and (host.cage.name in group or str(host.store.root).encode() in command):
                found.append(f"process {directory.name}: {command!r} in {group!r}: {(directory / 'stat').read_text()}")
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{host.cage.name}")]
    containers = host.store.root / f"{host.driver}-containers" / "containers.json"
    if containers.exists() and containers.read_text().strip() not in ("[]", "null", ""):
        found.append(containers.read_text())
    return found + ([str(host.scratch)] if host.scratch.exists() else [])


def test_the_same_sources_give_the_same_digest(source: Path, host: HostFacts, registry: str) -> None:
    first = built(source, BASE + 'RUN echo hello > /greeting\nCMD ["/bin/busybox"]\n', host, registry, tag="run-1")
    asyncio.run(collect(host, 0))
    second = built(source, BASE + 'RUN echo hello > /greeting\nCMD ["/bin/busybox"]\n', host, registry, tag="run-2")

    assert first.digest == second.digest
    assert leftovers(host) == []


def test_a_base_image_is_pulled_each_time_and_its_digest_told(source: Path, host: HostFacts, registry: str) -> None:
    base = built(source, BASE, host, registry, tag="base")

    done = built(source, f"FROM {registry}/shop/web:base\nRUN true\n", host, registry)

    assert done.bases == {f"{registry}/shop/web:base": base.digest}
    moved = built(source, BASE + "RUN echo moved > /x\n", host, registry, tag="base")
    again = built(source, f"FROM {registry}/shop/web:base\nRUN true\n", host, registry)
    assert again.bases == {f"{registry}/shop/web:base": moved.digest}


def test_the_log_is_live_and_names_the_step(source: Path, host: HostFacts, registry: str) -> None:
    lines: list[bytes] = []

    async def keep(line: LogLine) -> None:
        lines.append(line.text)

    built(source, BASE + "RUN echo from inside\n", host, registry, log=keep)

    assert b"from inside" in lines


def test_a_secret_reaches_its_step_by_mount_and_neither_log_nor_image(
    source: Path, host: HostFacts, registry: str
) -> None:
    lines: list[bytes] = []
    secret = source.parent / f"{source.name}-npm"
    secret.write_text("s3cret-value-of-npm")

    async def keep(line: LogLine) -> None:
        lines.append(line.text)

    step = "RUN --mount=type=secret,id=NPM /bin/busybox cat /run/secrets/NPM; /bin/busybox base64 /run/secrets/NPM\n"
    masker = Masker([b"s3cret-value-of-npm"])
    image = built(source, BASE + step, host, registry, log=keep, secrets={"NPM": secret}, masker=masker)

    assert b"".join(lines).count(b"[secret]") == 2
    assert b"s3cret-value" not in b"".join(lines)
    stored = asyncio.run(contents(registry, image.digest))
    assert b"busybox" in stored
    assert b"s3cret-value" not in stored
    assert base64.b64encode(b"s3cret-value") not in stored


async def contents(registry: str, digest: str) -> bytes:
    """An image's configuration and its layers, unpacked."""
    async with Registry(registry, plain_http=True) as asked:
        manifest = await asked.manifest("shop/web", digest)
        assert manifest is not None
        named = json.loads(manifest.body)
        parts = (named["config"], *named["layers"])
        blobs = [await asked.blob("shop/web", one["digest"], limit=64 << 20) for one in parts]
    return b"".join(gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob for blob in blobs)


def test_a_step_that_ran_with_a_forks_mounted_cache_is_no_cached_step_of_the_branch(
    source: Path, host: HostFacts, registry: str
) -> None:
    lines: list[bytes] = []
    mount = "RUN --mount=type=cache,id=shared,target=/n"

    async def keep(line: LogLine) -> None:
        lines.append(line.text)

    text = BASE + f"{mount} /bin/busybox ls /n; echo ran for nothing known\n"
    built(source, text, host, registry, scope="fork")
    for _ in range(2):
        built(source, text + "RUN echo that is all\n", host, registry, scope="main", log=keep)

    assert lines.count(b"ran for nothing known") == 1, "once for the branch, though the fork had run it"
    assert leftovers(host) == []


def test_endless_output_is_cut_and_counted(source: Path, host: HostFacts, registry: str) -> None:
    step = "RUN i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done\n"

    report = built(source, BASE + step, host, registry, limits=replace(TIGHT, log_head=2000, log_tail=8000)).report

    assert report.dropped > 10_000


def test_a_step_that_neither_prints_nor_moves_is_ended(source: Path, host: HostFacts, registry: str) -> None:
    limits = replace(TIGHT, stall=2)

    error = failure(source, BASE + "RUN /bin/busybox sleep 600\n", host, registry, limits=limits)

    assert error.reason == "build_stalled"


def test_a_failing_step_says_its_code_and_last_lines(source: Path, host: HostFacts, registry: str) -> None:
    error = failure(source, BASE + "RUN echo no such table >&2; exit 7\n", host, registry)

    assert isinstance(error, BuildFailed)
    assert (error.reason, error.exit_code) == ("build_failed", 7)
    assert "no such table" in error.message


def test_a_step_that_prints_our_evidence_is_not_believed(source: Path, host: HostFacts, registry: str) -> None:
    error = failure(source, BASE + "RUN echo 'Error: connection refused' >&2; exit 3\n", host, registry)

    assert error.reason == "build_failed"


def test_a_hanging_step_ends_at_the_deadline(source: Path, host: HostFacts, registry: str) -> None:
    limits = Limits(seconds=3, memory=96 * MIB, processes=64)
    step = "RUN trap '' TERM; /bin/busybox sleep 600 & wait; /bin/busybox sleep 600\n"

    error = failure(source, BASE + step, host, registry, limits=limits)

    assert error.reason == "build_timeout"


def test_a_disk_filling_step_is_ended(source: Path, host: HostFacts, registry: str) -> None:
    error = failure(source, BASE + "RUN /bin/busybox dd if=/dev/zero of=/big bs=1M count=4000\n", host, registry)

    assert error.reason == "build_disk_full"


def test_a_fork_bomb_is_bounded_though_it_lifts_its_own_limits(source: Path, host: HostFacts, registry: str) -> None:
    bomb = (
        "RUN for f in /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; do echo max > $f; done;"
        " i=0; while [ $i -lt 200 ]; do /bin/busybox sleep 600 & i=$((i+1)); done\n"
    )

    error = failure(source, BASE + bomb, host, registry, limits=Limits(seconds=10, memory=96 * MIB, processes=40))

    assert "can't fork" in error.message


def test_a_memory_eating_step_is_ended(source: Path, host: HostFacts, registry: str) -> None:
    error = failure(source, BASE + "RUN x=abcdefghijklmnop; while :; do x=$x$x; done\n", host, registry)

    assert error.reason == "build_memory"


def test_a_busy_step_gets_its_share_of_a_processor_and_no_more(source: Path, host: HostFacts, registry: str) -> None:
    seen: list[tuple[list[str], bool]] = []

    async def look(line: LogLine) -> None:
        seen.extend([processor(host)] if line.text.strip() == b"spun" else [])

    step = "RUN i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo spun\n"
    built(source, BASE + step, host, registry, limits=replace(TIGHT, cpus=0.25, seconds=120), log=look)

    assert seen == [(["25000", "100000"], True)]


def processor(host: HostFacts) -> tuple[list[str], bool]:
    """Of a running build: microseconds of processor that it gets, in how many, and whether it had to wait for more."""
    cage = cgroup.ROOT / ("" if host.cgroups == "v2" else "cpu") / host.cage.name
    share = "".join(file.read_text() for file in (*cage.glob("cpu.max"), *sorted(cage.glob("cpu.cfs_[pq]*"))))
    return sorted(share.split(), key=int), "nr_throttled 0\n" not in (cage / "cpu.stat").read_text()


def test_a_step_reaches_no_service_of_this_machines_loopback(source: Path, host: HostFacts, registry: str) -> None:
    with listener() as (port, requests):
        asking = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 3 127.0.0.1 {port}"  # wget may crash, static
        built(source, BASE + f"RUN PATH=/bin; {asking} || true\n", host, registry)
        from_inside = list(requests)
        subprocess.run((needs("busybox"), "sh", "-c", asking), capture_output=True, timeout=60, check=False)

    assert from_inside == []
    assert requests, "outside of a build the same words reach it, so inside they could have been heard"


def test_a_step_sees_no_process_of_this_machine(source: Path, host: HostFacts, registry: str) -> None:
    here = os.getpid()

    built(source, BASE + f"RUN ! /bin/busybox kill -0 {here} && [ $$ -lt 20 ]\n", host, registry)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("COPPY a b\n", "dockerfile_syntax"),
        ("COPY missing /\n", "build_failed"),
    ],
    ids=["unknown instruction", "missing source"],
)
def test_a_bad_dockerfile_is_named(source: Path, host: HostFacts, registry: str, text: str, reason: str) -> None:
    assert failure(source, BASE + text, host, registry).reason == reason


def test_a_missing_dockerfile_is_named(source: Path, host: HostFacts, registry: str) -> None:
    job = BuildJob(source, f"{registry}/shop/web", "run-1", EPOCH, plain_http=True)

    with pytest.raises(BuildFailed) as caught:
        asyncio.run(build(job, host=host, limits=TIGHT, log=discard))

    assert caught.value.reason == "dockerfile_missing"


def test_a_missing_base_image_is_the_sources_fault(source: Path, host: HostFacts, registry: str) -> None:
    assert failure(source, f"FROM {registry}/no/such:1\n", host, registry).reason == "base_image_missing"


@pytest.mark.parametrize("path", ["../outside", "link"])
def test_no_path_and_no_link_leads_out_of_the_context(source: Path, host: HostFacts, registry: str, path: str) -> None:
    (source.parent / "outside").write_text("not yours")
    (source / "link").symlink_to(source.parent / "outside")

    error = failure(source, BASE + f"COPY {path} /stolen\nRUN cat /stolen\n", host, registry)

    assert "not yours" not in error.message


def test_a_registry_that_is_away_is_tried_again(source: Path, host: HostFacts) -> None:
    error = failure(source, BASE, host, "127.0.0.1:1")

    assert isinstance(error, Unavailable)


def test_files_of_the_builder_are_no_base_image(source: Path, host: HostFacts, registry: str) -> None:
    assert isinstance(failure(source, "FROM dir:/etc\n", host, registry), Refused)


def test_a_killed_worker_leaves_nothing_after_the_sweep(source: Path, host: HostFacts, registry: str) -> None:
    (source / "Dockerfile").write_text(BASE + "RUN echo ready; /bin/busybox sleep 600\n")

    asyncio.run(kill_worker_at(b"ready", source, registry, host))
    asyncio.run(sweep(host))

    assert leftovers(host) == []
    assert built(source, BASE + "RUN true\n", host, registry).digest


WORKER = """
import asyncio, sys
from pathlib import Path
from pipeline.builders import BuildJob, Limits
from pipeline.builders.buildah import build
from pipeline.builders.buildah_host import detect

async def tell(line):
    print(line.text.decode(), flush=True)

async def main():
    host = await detect(Path(sys.argv[1]))
    await build(BuildJob(Path(sys.argv[2]), sys.argv[3], "run-1", 0), host=host, limits=Limits(), log=tell)

asyncio.run(main())
"""


async def kill_worker_at(line: bytes, source: Path, registry: str, host: HostFacts) -> None:
    argv = (sys.executable, "-c", WORKER, str(host.state), str(source), f"{registry}/shop/web")
    worker = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    async with asyncio.timeout(60):
        while await worker.stdout.readline() != line + b"\n":
            assert not worker.stdout.at_eof()
    worker.send_signal(signal.SIGKILL)
    await worker.wait()


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], requests
        finally:
            server.shutdown()
            thread.join()


def test_the_sbom_of_a_pushed_image_is_the_same_every_time(source: Path, host: HostFacts, registry: str) -> None:
    image = f"{registry}/shop/web@{built(source, BASE, host, registry).digest}"

    first, second = (asyncio.run(documents(image, plain_http=True, commit_time=EPOCH)) for _ in range(2))

    assert first == second
    assert b'"spdxVersion":"SPDX-2.3"' in first.spdx
    assert b'"bomFormat":"CycloneDX"' in first.cyclonedx
