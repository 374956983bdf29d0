"""Podman keeps the cluster contract, on the real podman of this machine, with real images from a real registry.

All that is made carries an instance of its own and is gone afterwards, the pulled images included.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gitops.clusters import Cluster, ServiceRef, Wanted, podman_commands, podman_host, subset
from gitops.clusters.podman import Podman
from pipeline.errors import Permanent
from tests.contract.cluster_contract import *  # noqa: F403 - the contract's tests are collected here
from tests.contract.cluster_contract import LIMIT, World, a_service, only, until, with_image
from tests.contract.exec_contract import *  # noqa: F403
from tests.support.components import needs
from tests.support.pages import Pages
from tests.support.registry import running_registry


@dataclass
class PodmanWorld(Pages):
    """One instance on this machine's podman and one registry."""

    cluster: Cluster
    instance: str
    registry: str
    env: dict[str, str]
    pages: dict[str, str] = field(default_factory=dict)

    @property
    def pod(self) -> dict[str, Any]:
        return {}

    @property
    def streams(self) -> bool:
        return True

    async def interrupt_start(self, wanted: Wanted) -> None:
        """Leave what a play that was killed leaves: a pod and its container, created and never started."""
        workload = subset.translate(wanted)
        name = podman_commands.pod_name(self.instance, wanted.ref, wanted.deployment, 0)
        labels = podman_commands.labels(self.instance, wanted, workload, 0)
        documents = subset.manifests(workload, name=name, labels=labels, host_ports={}, limits=False)
        self.podman("pull", "-q", "--tls-verify=false", wanted.image)
        self.podman("kube", "play", "--start=false", "--network", "podman", "-", stdin=json.dumps(documents[-1]))

    async def left(self, ref: ServiceRef) -> list[str]:
        prefix = podman_commands.service_prefix(self.instance, ref)
        names = self.podman("ps", "-a", "--external", "--format", "{{.Names}}").split()
        names += self.podman("pod", "ps", "--format", "{{.Name}}").split()
        names += self.podman("volume", "ls", "--format", "{{.Name}}").split()
        networks = self.podman("network", "ls", "--format", "{{.Name}}").split()
        return [name for name in names if name.startswith(prefix)] + [
            name for name in networks if name == podman_commands.network_name(self.instance, ref)
        ]

    async def close(self) -> None:
        return

    def podman(self, *words: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            ["podman", *words], input=stdin, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanWorld]:
    needs("podman", "buildah", "docker-registry", "busybox")
    folder: Path = tmp_path_factory.mktemp("podman")
    instance = f"test-{uuid4().hex[:10]}"
    conf = podman_host.write_configuration(folder)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **podman_host.environment(conf, None)}
    with running_registry(folder / "registry") as registry:
        made = PodmanWorld(Podman(instance=instance, containers_conf=conf), instance, registry, env)
        yield made
    _forget_images(made)


def _forget_images(world: PodmanWorld) -> None:
    for image in world.pages.values():
        subprocess.run(["podman", "rmi", "-f", image], env=world.env, capture_output=True, timeout=60, check=False)


def test_doctor_describes_this_podman(world: PodmanWorld) -> None:
    subjects = {finding.subject for finding in asyncio.run(world.cluster.check())}

    assert {"podman", "podman user", "podman cgroups", "podman storage"} <= subjects


def test_two_instances_never_see_each_other(world: PodmanWorld) -> None:
    other = Podman(instance=f"{world.instance}-other")

    assert asyncio.run(other.observe()) == []


def test_a_podman_that_cannot_answer_is_an_error_for_the_doctor(world: PodmanWorld, tmp_path: Path) -> None:
    broken = tmp_path / "containers.conf"
    broken.write_text("this is no configuration")

    (finding,) = asyncio.run(Podman(instance=world.instance, containers_conf=broken).check())

    assert finding.level == "error"


def job(image: str, text: str) -> dict[str, Any]:
    container = {"name": "web", "image": image, "command": ["/bin/sh", "-c", text]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    spec = {"activeDeadlineSeconds": 5, "template": {"spec": pod}}
    return {"kind": "Job", "metadata": {"name": "web-release-1"}, "spec": spec}


@contextlib.asynccontextmanager
async def releasing(world: PodmanWorld, text: str) -> AsyncIterator[Wanted]:
    """A service whose release first runs ``text``."""
    async with a_service(world) as service:
        wanted = service.wanted(page="released")
        yield replace(wanted, documents=(*wanted.documents, job(wanted.image, text)))


def jobs_of(world: PodmanWorld, wanted: Wanted) -> list[dict[str, Any]]:
    label = f"--filter=label=enclii.dev/job={wanted.deployment}"
    project = f"--filter=label=enclii.dev/project={wanted.ref.project}"
    found: list[dict[str, Any]] = json.loads(world.podman("ps", "-a", "--format", "json", label, project))
    return found


def test_the_release_job_ends_before_the_first_replica_starts_and_runs_once(world: PodmanWorld) -> None:
    async def go() -> None:
        async with releasing(world, "echo migrated") as wanted:
            await world.cluster.start(wanted)
            (first,) = jobs_of(world, wanted)
            await world.cluster.start(wanted)

            assert [one["Id"] for one in jobs_of(world, wanted)] == [first["Id"]]
            (replica,) = (await only(world, wanted.ref)).replicas
            assert replica.started_at is not None
            assert first["ExitedAt"] <= replica.started_at.timestamp()

    asyncio.run(go())


def test_a_release_job_that_fails_stops_the_rollout_and_says_its_last_words(world: PodmanWorld) -> None:
    async def go() -> None:
        async with releasing(world, "echo no such table; exit 3") as wanted:
            with pytest.raises(Permanent, match="no such table") as caught:
                await world.cluster.start(wanted)

            assert caught.value.reason == "release_failed"
            assert await world.cluster.observe(wanted.ref) == []

    asyncio.run(go())


def test_a_release_job_that_takes_too_long_is_ended(world: PodmanWorld) -> None:
    async def go() -> None:
        async with releasing(world, "exec sleep 1000") as wanted:
            with pytest.raises(Permanent) as caught:
                await world.cluster.start(wanted)

            assert caught.value.reason == "release_timeout"
            assert [one["State"] for one in jobs_of(world, wanted)] == ["exited"]

    asyncio.run(go())


def test_a_new_deployment_runs_beside_the_old_one_until_the_old_is_stopped(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            old, new = service.wanted("d1", page="old"), service.wanted("d2", page="new")
            await world.cluster.start(old)
            (before,) = (await only(world, service.ref)).replicas
            await world.cluster.start(new)
            await world.cluster.wait_healthy(new, timeout=LIMIT)

            both = {one.deployment: one for one in await world.cluster.observe(service.ref)}
            assert both["d1"].replicas[0].started_at == before.started_at
            assert "old" in await world.fetch(both["d1"].replicas[0])
            await world.cluster.stop(service.ref, keep=frozenset({"d2"}), grace=0)
            last = await only(world, service.ref)
            assert (last.deployment, last.replicas[0].started_at) == ("d2", both["d2"].replicas[0].started_at)

    asyncio.run(go())


def test_what_ignores_its_end_keeps_nobody_waiting_who_goes_on(
    world: PodmanWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitops.clusters.podman_calls.PATIENCE", LIMIT)

    async def go() -> None:
        async with a_service(world) as service:
            deaf = service.script("trap '' TERM; echo deaf; while true; do sleep 1; done")
            name = f"{podman_commands.pod_name(world.instance, service.ref, 'd1', 0)}-web"

            async def says(word: str, *asked: str) -> bool:
                return word in await asyncio.to_thread(world.podman, *asked, name)

            await world.cluster.start(deaf)
            await until(lambda: says("deaf", "logs"))
            ending = asyncio.create_task(world.cluster.stop(service.ref, keep=frozenset(), grace=LIMIT / 2))
            await until(lambda: says("stopping", "inspect", "--format", "{{.State.Status}}"))
            ending.cancel()
            await asyncio.wait({ending})
            assert await says("stopping", "inspect", "--format", "{{.State.Status}}")  # it was not waited for
            await world.cluster.stop(service.ref, keep=frozenset(), grace=0)
            assert await world.cluster.observe(service.ref) == []

    asyncio.run(go())


def test_an_image_that_nobody_pushed_starts_nothing(world: World) -> None:
    async def go() -> None:
        async with a_service(world) as service:
            wanted = service.wanted()
            missing = with_image(wanted, wanted.image.partition("@")[0] + "@sha256:" + "0" * 64)
            with pytest.raises(Permanent):
                await world.cluster.start(missing)

            assert await world.cluster.observe(service.ref) == []

    asyncio.run(go())
