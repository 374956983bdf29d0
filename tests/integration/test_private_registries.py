"""Builds from and to registries that want a login, by the real builders: accounts, tokens that end, mirrors."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from console import checks
from pipeline.build_log import LogLine
from pipeline.builders import BuildFailed, BuildJob, Built, Limits, buildah, buildah_host, buildkit_daemon
from pipeline.builders.buildkit import Buildkit
from pipeline.errors import Unavailable
from pipeline.images import ImageRef
from pipeline.process import SEARCH_PATH
from pipeline.registries import Registries
from pipeline.registry import Registry
from pipeline.registry_accounts import Accounts, docker_config
from pipeline.registry_login import Credentials
from pipeline.stages.rebase import asker
from tests.support.buildkit import running_buildkitd
from tests.support.components import needs
from tests.support.images import push_sample
from tests.support.registry import push_image, running_registry
from tests.support.tokens import token_service

ME = Credentials("builder", "correct horse")
# bcrypt of "correct horse", made for this test alone
HTPASSWD = "builder:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
LIMITS = Limits(seconds=90, stall=60, memory=256 << 20, cpus=2, processes=256, keep_free=64 << 20)
SCRATCH = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
LASTS = 3

Build = Callable[[BuildJob], Awaitable[Built]]


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("private")
    (folder / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    with running_registry(folder, auth=auth) as host:
        yield host


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """A registry whose tokens end after a few seconds, and the scopes of those that it gave."""
    folder = tmp_path_factory.mktemp("brief")
    with (
        token_service(folder / "service", basic=ME.basic, lasts=LASTS) as (auth, given),
        running_registry(folder, auth=auth) as host,
    ):
        yield host, given


@pytest.fixture(scope="module", params=["buildkit", "buildah"])
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    needs("buildah", "runc", "busybox")
    state = tmp_path_factory.mktemp("builder")
    if request.param == "buildkit":
        with running_buildkitd() as daemon:

            async def by_buildkit(job: BuildJob) -> Built:
                facts = await buildkit_daemon.ask(daemon)
                builder = Buildkit(daemon, facts, state / "state", LIMITS, network="private", cage=None)
                await builder.sweep()
                return await builder.build(job, discard)

            yield by_buildkit
        return
    host = asyncio.run(buildah_host.detect(state))
    yield lambda job: buildah.build(job, host=host, limits=LIMITS, log=discard)
    asyncio.run(buildah.sweep(host))


def job_of(folder: Path, text: str, host: str, account: Credentials | None) -> BuildJob:
    shutil.copy(needs("busybox"), folder / "busybox")
    (folder / "Dockerfile").write_text(text)
    login = folder.parent / f"{folder.name}.json"
    login.write_text(docker_config({host: account} if account else {}))
    return BuildJob(folder, f"{host}/shop/web", "run-1", 1_700_000_000, plain_http=True, authfile=login)


def test_a_private_base_image_is_pulled_and_the_image_pushed_with_the_account(
    build: Build, private: str, tmp_path: Path
) -> None:
    base = asyncio.run(build(job_of(tmp_path, SCRATCH, private, ME)))
    text = f"FROM {private}/shop/web:run-1\nRUN ! /bin/busybox env | /bin/busybox grep -i horse\n"

    done = asyncio.run(build(job_of(tmp_path, text, private, ME)))

    assert base.digest in done.bases.values()


def test_without_the_account_a_private_base_image_is_the_sources_fault(
    build: Build, private: str, tmp_path: Path
) -> None:
    wrong = Credentials("builder", "battery staple")

    with pytest.raises(BuildFailed) as caught:
        asyncio.run(build(job_of(tmp_path, f"FROM {private}/shop/web:run-1\n", private, wrong)))

    assert caught.value.reason == "base_image_denied"
    assert "battery" not in caught.value.message


def test_a_push_that_is_refused_says_so_and_is_tried_again(build: Build, private: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        asyncio.run(build(job_of(tmp_path, SCRATCH, private, None)))

    assert caught.value.reason == "registry_denied"


def test_a_token_that_ends_during_the_build_is_replaced(
    build: Build, brief: tuple[str, list[str]], tmp_path: Path
) -> None:
    host, given = brief
    asyncio.run(build(job_of(tmp_path, SCRATCH, host, ME)))
    given.clear()
    text = f"FROM {host}/shop/web:run-1\nRUN echo {os.urandom(4).hex()}; /bin/busybox sleep {LASTS + 2}\n"

    done = asyncio.run(build(job_of(tmp_path, text, host, ME)))

    assert done.digest
    assert len(given) >= 2


async def discard(_line: LogLine) -> None:
    return None


def test_a_token_that_ends_between_two_requests_is_replaced(brief: tuple[str, list[str]]) -> None:
    host, given = brief

    async def story() -> int:
        async with Registry(host, plain_http=True, credentials=ME) as registry:
            image = await push_image(registry, "shop/tokens")
            before = len(given)
            await asyncio.sleep(LASTS + 1)  # a token ends by the clock alone
            assert await registry.manifest("shop/tokens", image.digest)
            return len(given) - before

    assert asyncio.run(story()) == 1


def test_a_helper_is_what_the_planner_and_the_doctor_log_in_with(private: str, tmp_path: Path) -> None:
    registries = Registries(by_helper(tmp_path, private), frozenset({private}), {"gone.example": (private,)})

    async def story() -> ImageRef:
        async with registries.client(private) as registry:
            return await push_image(registry, "library/base")

    image = asyncio.run(story())
    leads = asker(registries)
    assert asyncio.run(leads(f"{private}/library/base:v1")) == frozenset({image.digest})
    assert asyncio.run(leads("gone.example/library/base:v1")) == frozenset({image.digest})
    found = asyncio.run(checks.check_registry(registries.client(private)))
    assert [one.level for one in found] == ["ok", "ok"]
    [refused] = asyncio.run(checks.check_registry(Registry(private, plain_http=True)))
    assert (refused.level, "account" in refused.fix) == ("error", True)


def by_helper(folder: Path, host: str) -> Accounts:
    """An account that only a credential helper knows."""
    helper = folder / "docker-credential-test"
    answer = json.dumps({"ServerURL": host, "Username": ME.username, "Secret": ME.password})
    helper.write_text(f"#!/bin/sh\nread server\n[ \"$1 $server\" = 'get {host}' ] && echo '{answer}'\n")
    helper.chmod(0o755)
    (folder / "config.json").write_text(json.dumps({"credHelpers": {host: "test"}}))
    return Accounts({}, folder / "config.json", os.pathsep.join((str(folder), SEARCH_PATH)))


def test_a_base_image_comes_from_its_mirror(tmp_path: Path) -> None:
    needs("buildah", "runc", "busybox")
    (tmp_path / "sources").mkdir()
    with running_registry(tmp_path / "near") as near:
        digest = push_sample(near, "library/base", page="one")
        registries = Registries(plain_http=frozenset({near}), mirrors={"gone.example": (near,)})
        host = asyncio.run(buildah_host.detect(tmp_path / "builder", registries=registries))
        job = job_of(tmp_path / "sources", "FROM gone.example/library/base:latest\n", near, None)

        done = asyncio.run(buildah.build(job, host=host, limits=LIMITS, log=discard))

        asyncio.run(buildah.sweep(host))
    assert done.bases == {"gone.example/library/base:latest": digest}
