"""The platform on this machine: real supervisor, NATS and registry; small programs in place of Enclii's own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console import installation, platform, ports
from console.supervise import Program
from console.until import until
from gitops.clusters import ServiceRef, Wanted, podman_host
from gitops.clusters.podman import Podman
from gitops.clusters.podman_commands import secret_mark, service_prefix
from pipeline import bus, process, structure
from pipeline.bus import Write
from pipeline.errors import EncliiError, Invalid, Unavailable
from pipeline.settings import PROCESSES, Settings
from tests.support.components import needs
from tests.support.free_ports import free_ports
from tests.support.images import push_sample

ROOT = Path(__file__).parents[2]
WAITS = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); signal.pause()"
ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder that was used before, on ports that the system chose; ended and purged afterwards."""
    needs("nats-server", "docker-registry", "setpriv")
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "instance").write_text("e-test-" + secrets.token_hex(4))
    kept = dict(zip(ports.PREFERRED, free_ports(len(ports.PREFERRED)), strict=True))
    (folder / "ports.toml").write_text(ports.render(kept))
    yield folder
    platform.down(folder, purge=True)
    assert not folder.exists()


def _up(home: Path, *codes: str) -> platform.Addresses:
    """Start the stores and, for each of ``codes``, a process p0, p1, … that runs it."""
    own = []
    for number, code in enumerate(codes or (WAITS,)):
        script = home.with_name(f"p{number}.py")
        script.write_text(code)
        own.append(Program(script.stem, (sys.executable, str(script))))
    return platform.up(home, environ=ENVIRON, enclii=own)


def _eventually(condition: Callable[[], bool], limit: float = 60.0) -> None:
    assert until(condition, limit)


def _pid(home: Path, name: str) -> int:
    return next((state.pid for state in platform.status(home) if state.name == name), 0)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_up_starts_stores_that_answer(home: Path) -> None:
    found = _up(home)

    assert _get(found.ports["registry"], "/v2/") == 200
    assert _get(found.ports["nats_monitor"], "/healthz") == 200


def test_a_second_up_changes_nothing_and_says_so(home: Path) -> None:
    first = _up(home)
    before = _pid(home, "p0")

    again = _up(home)

    assert (again.already_up, again.ports, _pid(home, "p0")) == (True, first.ports, before)


def test_down_ends_everything_and_up_finds_its_ports_and_secrets_again(home: Path) -> None:
    first, token = _up(home), platform.token(home, "ENCLII_API_TOKEN")
    pids = [state.pid for state in platform.status(home)]

    assert platform.down(home)

    assert not [pid for pid in pids if _lives(pid)]
    assert _up(home).ports == first.ports
    assert platform.token(home, "ENCLII_API_TOKEN") == token


def test_a_process_that_dies_is_started_again(home: Path) -> None:
    _up(home)
    _eventually(lambda: _pid(home, "p0") > 0)
    killed = _pid(home, "p0")

    os.kill(killed, signal.SIGKILL)

    _eventually(lambda: _pid(home, "p0") not in (0, killed))


def test_a_crash_loop_is_shown(home: Path) -> None:
    _up(home, "raise SystemExit(3)")

    _eventually(lambda: "BACKOFF" in {state.state for state in platform.status(home) if state.name == "p0"})


def test_nothing_outlives_a_killed_supervisor_and_up_works_again(home: Path) -> None:
    first = _up(home)
    _eventually(lambda: _pid(home, "p0") > 0)
    orphans = [state.pid for state in platform.status(home)]

    os.kill(int((home / "supervisord.pid").read_text()), signal.SIGKILL)

    assert _up(home).ports == first.ports
    assert not [pid for pid in orphans if _lives(pid)]


def test_down_of_a_killed_supervisor_waits_for_what_it_left(home: Path) -> None:
    _up(home)
    _eventually(lambda: _pid(home, "p0") > 0)
    orphans = [state.pid for state in platform.status(home) if state.name != "p0"]

    os.kill(int((home / "supervisord.pid").read_text()), signal.SIGKILL)

    assert platform.down(home)
    assert not [pid for pid in orphans if _lives(pid)]


def test_a_process_drains_while_the_stores_still_answer(home: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    port = ports.read(home / "ports.toml")["nats"]
    code = (
        "import signal, socket, pathlib\n"
        f"def end(*_): socket.create_connection(('127.0.0.1', {port})); pathlib.Path({str(seen)!r}).touch(); exit(0)\n"
        f"signal.signal(signal.SIGTERM, end); pathlib.Path({str(seen)!r} + '.ready').touch(); signal.pause()"
    )
    _up(home, code)
    _eventually(lambda: seen.with_name("seen.ready").exists())

    platform.down(home)

    assert seen.exists()


def test_secrets_are_for_the_owner_alone_and_in_no_process_list_or_configuration(home: Path) -> None:
    _up(home)
    files = sorted((home / "secrets").iterdir())

    assert {file.stat().st_mode & 0o777 for file in (*files, home / "nats.conf", home / "registry.yml")} == {0o600}
    told = "".join(str(platform.environment(home, name, environ=ENVIRON)) for name in PROCESSES)
    assert not [file.name for file in files if file.read_text().strip() in told]


def test_every_process_is_told_what_it_needs_and_no_more(home: Path) -> None:
    _up(home)

    for name in PROCESSES:
        told = {k: v for k, v in platform.environment(home, name, environ=ENVIRON).items() if k.startswith("ENCLII_")}
        assert Settings.from_env(told, process=name).nats_user == name
    assert "git" not in str(platform.environment(home, "builder", environ={})).lower()


def test_every_wrong_setting_is_told_before_anything_starts(home: Path) -> None:
    with pytest.raises(Invalid) as refused:
        platform.up(home, environ={**ENVIRON, "ENCLII_BUILD_CPUS": "x", "ENCLII_DRAIN": "y", "ENCLII_TYPO": "z"})

    assert {line.partition(":")[0] for line in refused.value.message.splitlines()} == {
        "ENCLII_BUILD_CPUS",
        "ENCLII_DRAIN",
        "ENCLII_TYPO",
    }
    with pytest.raises(Unavailable):
        platform.status(home)


def test_a_folder_that_holds_something_else_is_neither_taken_nor_purged(tmp_path: Path) -> None:
    other = tmp_path / "papers"
    other.mkdir()
    (other / "thesis.txt").touch()

    with pytest.raises(Invalid) as refused:
        _up(other)

    assert refused.value.reason == "bad_home"
    assert not platform.down(other, purge=True)
    assert (other / "thesis.txt").exists()


def test_nats_lets_the_builder_claim_no_release(home: Path) -> None:
    _up(home)

    async def attempt(name: str, subject: str) -> None:
        await structure.make(_told(home, "committer"), wait=60)
        opened = await structure.connected(_told(home, name), name, wait=60)
        try:
            await opened.commit(Write(subject, b"{}"))
        finally:
            await opened.close()

    asyncio.run(attempt("signer", "st.release.a"))
    with pytest.raises(EncliiError):
        asyncio.run(attempt("builder", "st.release.b"))


def test_nats_lets_the_syncer_alone_answer_what_people_ask_of_the_clusters(home: Path) -> None:
    _up(home)

    async def opened(name: str) -> bus.Bus:
        return await structure.connected(_told(home, name), name, wait=60)

    async def well(question: bytes) -> bytes:
        return b"answered " + question

    async def asked_beside(name: str, limit: float) -> bytes:
        answering, asking = await opened(name), await opened("console")
        task = asyncio.create_task(answering.answer("rq.exec.typed", well))
        try:
            deadline = time.monotonic() + limit
            while time.monotonic() < deadline:
                with contextlib.suppress(EncliiError):  # not subscribed yet
                    return await asking.ask("rq.exec.typed", b"this", timeout=1)
                await asyncio.sleep(0.02)
            raise TimeoutError
        finally:
            task.cancel()
            await asyncio.gather(task, answering.close(), asking.close(), return_exceptions=True)

    assert asyncio.run(asked_beside("syncer", 60.0)) == b"answered this"
    with pytest.raises(TimeoutError):
        asyncio.run(asked_beside("builder", 3.0))


def _told(home: Path, name: str) -> Settings:
    environment = platform.environment(home, name, environ={})
    return Settings.from_env({k: v for k, v in environment.items() if k.startswith("ENCLII_")}, process=name)


def test_the_purge_of_nothing_is_nothing(tmp_path: Path) -> None:
    assert not platform.down(tmp_path / "none", purge=True)


def test_two_ups_at_once_start_one_platform(home: Path) -> None:
    async def both() -> list[platform.Addresses]:
        return list(await asyncio.gather(*(asyncio.to_thread(_up, home) for _ in range(2))))

    found = asyncio.run(both())

    assert sorted(one.already_up for one in found) == [False, True]
    assert found[0].ports == found[1].ports


def test_the_foreground_ends_all_when_one_ends(home: Path) -> None:
    installation.prepare(home, environ=ENVIRON)
    code = (
        "import asyncio, pathlib, sys\n"
        "from console import attached, programs\nfrom console.supervise import Program\n"
        f"home = pathlib.Path({str(home)!r})\n"
        f"own = Program('p0', (sys.executable, '-c', 'import time; time.sleep(1); exit(3)'))\n"
        f"stores = asyncio.run(programs.stores(home, search={ENVIRON['PATH']!r}))\n"
        f"sys.exit(attached.run((*stores, own), env={ENVIRON!r}, cwd=home))"
    )

    started = time.monotonic()
    ended = asyncio.run(_exit_code((sys.executable, "-c", code)))

    assert ended == 3
    assert time.monotonic() - started < 60
    _eventually(lambda: all(map(ports.is_free, ports.read(home / "ports.toml").values())))


async def _exit_code(argv: tuple[str, ...]) -> int:
    child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
    return await child.wait()


def test_down_removes_the_services_and_a_purge_what_they_pulled(home: Path) -> None:
    needs("podman", "buildah")
    found = _up(home)
    image = f"{found.registry}/shop/web@{push_sample(found.registry, 'shop/web', page='hello')}"
    wanted = _wanted(ServiceRef("shop", "production", "web"), image)
    configuration = podman_host.write_configuration(home / "podman")
    cluster = Podman(instance=found.instance, containers_conf=configuration)
    asyncio.run(cluster.start(wanted))

    platform.down(home)
    assert not asyncio.run(cluster.observe())
    assert asyncio.run(_holds(image))

    platform.down(home, purge=True)
    assert not asyncio.run(_holds(image))
    assert not home.exists()


def test_make_down_with_purge_leaves_nothing(home: Path, tmp_path: Path) -> None:
    needs("podman", "buildah", "make")
    found = _up(home)
    image = f"{found.registry}/shop/web@{push_sample(found.registry, 'shop/web', page='hello')}"
    cluster = Podman(instance=found.instance, containers_conf=podman_host.write_configuration(home / "podman"))
    asyncio.run(cluster.start(_wanted(ServiceRef("shop", "production", "web"), image)))
    asyncio.run(cluster.secrets("").add(ServiceRef("shop", "production", "web"), "KEY", b"value", after=0))
    pids = [state.pid for state in platform.status(home)]
    assert all(_left(found.instance, kind) for kind in ("ps --all", "pod ps", "network ls", "secret ls"))

    checkout = _checkout(tmp_path / "checkout")
    env = {**ENVIRON, "ENCLII_HOME": str(home)}
    subprocess.run(["make", "-C", str(checkout), "down", "PURGE=1"], env=env, check=True, timeout=120)

    assert not [pid for pid in pids if _lives(pid)]
    kinds = ("ps --all --external", "pod ps", "network ls", "volume ls", "secret ls")
    assert {kind: _left(found.instance, kind) for kind in kinds} == dict.fromkeys(kinds, "")
    assert not asyncio.run(_holds(image))
    assert not home.exists()
    assert not (checkout / ".venv").exists()


def _checkout(folder: Path) -> Path:
    """A clone as far as ``make down`` looks at it, with a virtual environment of its own to remove."""
    program = folder / ".venv/bin/enclii"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m console.cli "$@"\n')
    program.chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / ".ci/down", folder / ".ci")
    return folder


def _left(instance: str, kind: str) -> str:
    """What podman still has of an installation, by its label; of secrets and volumes, which have none, by the name."""
    argv = ["podman", *kind.split(), "--format", "{{.Name}}" if kind.startswith(("net", "vol", "sec")) else "{{.ID}}"]
    if kind.startswith(("sec", "vol")):
        names = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.split()
        ours = (secret_mark(instance), service_prefix(instance, ServiceRef("shop", "production", "web")))
        return " ".join(name for name in names if name.startswith(ours))
    argv += ["--filter", f"label=enclii.dev/instance={instance}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _wanted(ref: ServiceRef, image: str) -> Wanted:
    container = {"name": "web", "image": image, "ports": [{"containerPort": 8080}]}
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": ref.service},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
    }
    return Wanted(ref, deployment="d1", release="r1", image=image, documents=(document,))


async def _holds(image: str) -> bool:
    done = await process.run(
        ("podman", "image", "exists", image), timeout=120, env={"HOME": str(Path.home())}, check=False
    )
    return done.returncode == 0
