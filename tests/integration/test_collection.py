"""The embedded registry is collected: real supervisor, registry, cosign and podman; the disk tells."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from console import collection, credentials, platform, ports, supervise
from console.supervise import Program
from console.until import until
from pipeline import bus
from pipeline.errors import Conflict
from pipeline.events import RetentionRequested
from pipeline.images import ImageRef
from pipeline.needs import SETUP
from pipeline.records import ServiceRecord
from pipeline.registry import Registry
from pipeline.rights import rights_of
from pipeline.stages.retain import Retainer
from pipeline.store import Change, Step, Store
from pipeline.supply import sign_release
from tests.support.components import needs
from tests.support.forgeries import SPDX, facts
from tests.support.free_ports import free_ports
from tests.support.images import push_sample
from tests.support.judge import cosign
from tests.support.retention_world import KEY, OLD, REPOSITORY, RUNS, decided, image_record, wanted

WAITS = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); signal.pause()"
ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[platform.Addresses]:
    """Supervisor, NATS and the registry as ``enclii up`` runs them; processes that only wait in place of our own."""
    needs("nats-server", "docker-registry", "setpriv")
    home = tmp_path / "state"
    home.mkdir()
    (home / "instance").write_text("e-test-" + secrets.token_hex(4))
    free = dict(zip(ports.PREFERRED, free_ports(len(ports.PREFERRED)), strict=True))
    (home / "ports.toml").write_text(ports.render(free))
    names = ("planner", *collection.WRITERS)
    own = [Program(name, (sys.executable, "-c", WAITS)) for name in names]
    yield platform.up(home, environ=ENVIRON, enclii=own)
    platform.down(home, purge=True)


async def shed_on(found: platform.Addresses, old: ImageRef, live: ImageRef) -> None:
    """Records as the processes write them, and the planner's stage with the planner's own rights."""

    async def store(name: str) -> Store:
        password = credentials.read(found.home / "secrets" / credentials.nats(name))
        return Store(await bus.connect(found.nats, name=name, user=name, password=password, rights=rights_of(name)))

    setup, signer, committer, planner = [await store(name) for name in (SETUP, "signer", "committer", "planner")]
    await setup.bus.create_streams()
    service = ServiceRecord(project="shop", service="web", last_release=2)
    signed = (image_record(old, RUNS[0], provenance="x"), image_record(live, RUNS[1]), service)
    await signer.commit(Step(tuple(map(Change, signed))))
    await committer.commit(Step((Change(wanted(live)),)))
    async with Registry(found.registry, plain_http=True) as registry:
        for image in (old, live):
            await sign_release(registry, image, key=KEY, provenance=facts(), sbom=SPDX)
        await registry.put_blob(REPOSITORY, os.urandom(200_000))  # sources of a build long ago
        assert (await decided(Retainer(planner, registry, 1, OLD), RetentionRequested(id="c-1"))).outcome == "accepted"
    for one in (setup, signer, committer, planner):
        await one.bus.close()


def test_the_embedded_registrys_disk_is_freed_and_what_was_kept_verifies_and_runs(
    installed: platform.Addresses, tmp_path: Path
) -> None:
    needs("cosign", "podman", "buildah")
    pushed = [
        ImageRef(
            installed.registry, REPOSITORY,
            push_sample(installed.registry, REPOSITORY, page=run, tag=run, command=("echo", "alive")),
        )
        for run in RUNS[:2]
    ]  # fmt: skip
    asyncio.run(shed_on(installed, *pushed))

    freed = collection.collect(installed.home, quiet=lambda: True)

    assert freed["after"] < freed["before"] - 900_000  # one busybox and the sources
    assert {one.name for one in platform.status(installed.home) if one.state in ("RUNNING", "STARTING")} == {
        "nats", "registry", "planner", *collection.WRITERS,
    }  # fmt: skip
    public = tmp_path / "signing.pub"
    public.write_bytes(KEY.public.pem)
    for judged in ({}, {"older": True}, {"kind": "slsaprovenance1"}, {"kind": "spdxjson"}):
        assert cosign(public, pushed[1], **judged).returncode == 0, judged
    assert ran(pushed[1]) == "alive"


def ran(image: ImageRef) -> str:
    """What the image prints, pulled anew; nothing of it stays."""
    argv = (
        "podman",
        "run",
        "--rm",
        "--rmi",
        "--pull=always",
        "--tls-verify=false",
        "--network=none",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1024:1024",
        str(image),
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_while_jobs_are_on_their_way_nothing_is_collected_and_the_planner_runs_again(
    installed: platform.Addresses,
) -> None:
    answers = iter([True, False])  # a push came in between

    with pytest.raises(Conflict, match="on their way"):
        collection.collect(installed.home, quiet=lambda: next(answers))

    assert until(lambda: runs(installed.home, "planner"), 20.0)


def test_who_was_killed_in_between_is_healed_by_the_next_up(installed: platform.Addresses) -> None:

    with platform.at_work(installed.home) as at:
        supervise.end(at, ("planner", "registry"), limit=60.0)

    assert platform.up(installed.home, environ=ENVIRON, enclii=()).already_up

    assert until(lambda: ports.answers(installed.ports["registry"]), 20.0)
    assert until(lambda: runs(installed.home, "planner"), 20.0)


def runs(home: Path, name: str) -> bool:
    return any(one.name == name and one.state in ("RUNNING", "STARTING") for one in platform.status(home))
