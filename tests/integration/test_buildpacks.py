"""Buildpacks by the builder image's creator in podman: what is honoured, what is refused, and what is left: nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.build_log import LogLine
from pipeline.builders import BuildFailed, BuildJob, Built, Limits, buildah_host
from pipeline.builders.buildah_host import HostFacts
from pipeline.builders.lifecycle import Lifecycle
from pipeline.errors import EncliiError, Refused
from tests.integration.test_buildah import leftovers
from tests.support.buildpacks import push_builder, push_run_image
from tests.support.components import needs
from tests.support.images import digest_of
from tests.support.registry import running_registry

LIMITS = Limits(seconds=120, memory=256 << 20, processes=200)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def image(registry: str) -> str:
    return push_builder(registry)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostFacts]:
    needs("podman", "buildah", "runc", "busybox")
    facts = asyncio.run(buildah_host.detect(tmp_path_factory.mktemp("packs")))
    shutil.rmtree(facts.scratch)
    yield facts
    shutil.rmtree(facts.state)


class World:
    def __init__(self, host: HostFacts, registry: str, image: str, source: Path) -> None:
        self.host, self.registry, self.image, self.source = host, registry, image, source
        self.lines: list[bytes] = []
        self.job = BuildJob(source, f"{registry}/shop/web", "run-1", 1_700_000_000, plain_http=True)
        (source / "start").write_text("httpd -f\n")

    def build(self, *, limits: Limits = LIMITS, listed: str = "", **more: object) -> Built:
        builder = Lifecycle(self.host, limits, listed=(listed or self.image,), version="4")
        try:
            return asyncio.run(builder.build(replace(self.job, **more), self._keep))  # type: ignore[arg-type]
        finally:
            assert leftovers(self.host) == []

    def failure(self, *, limits: Limits = LIMITS, listed: str = "", **more: object) -> EncliiError:
        with pytest.raises(EncliiError) as caught:
            self.build(limits=limits, listed=listed, **more)
        return caught.value

    @property
    def text(self) -> str:
        return b"\n".join(self.lines).decode()

    async def _keep(self, line: LogLine) -> None:
        self.lines.append(line.text)


@pytest.fixture
def world(host: HostFacts, registry: str, image: str, tmp_path: Path) -> World:
    return World(host, registry, image, tmp_path)


def test_the_digest_is_what_the_registry_holds_and_the_phases_are_steps(world: World) -> None:
    built = world.build()

    assert built.digest == digest_of(world.registry, "shop/web", "run-1")
    assert built.bases[world.image].startswith("sha256:")
    assert [step.name for step in built.report.steps] == ["[analyzing]", "[detecting]", "[building]", "[exporting]"]


def test_buildpacks_run_as_the_images_user(world: World) -> None:
    world.build()

    assert "1000" in world.lines[world.text.splitlines().index("===> BUILDING") + 1].decode()


def test_project_toml_is_honoured(world: World) -> None:
    (world.source / "notes.md").write_text("private")
    (world.source / "project.toml").write_text(
        '[io.buildpacks]\nexclude = ["*.md"]\n[[io.buildpacks.group]]\nid = "test_start"\n'
        '[[io.buildpacks.build.env]]\nname = "GREETING"\nvalue = "hello"\n'
    )

    world.build()

    assert "greeting is hello" in world.text
    assert "notes.md" not in world.text


def test_sources_that_no_buildpack_takes_fail_for_good(world: World) -> None:
    (world.source / "start").unlink()

    error = world.failure()

    assert (error.reason, isinstance(error, BuildFailed)) == ("buildpacks_none_detected", True)


def test_a_failing_buildpack_says_its_last_lines(world: World) -> None:
    (world.source / "fail").touch()

    error = world.failure()

    assert error.reason == "build_failed"
    assert "===> BUILDING" in error.message


def test_an_image_that_is_no_builder_is_named(world: World) -> None:
    plain = push_builder(world.registry, "builders/plain", labelled=False)

    assert world.failure(listed=plain).reason == "not_a_builder_image"


def test_a_missing_builder_image_is_named(world: World) -> None:
    assert world.failure(listed=f"{world.registry}/no/such:1").reason == "base_image_missing"


def test_an_image_that_the_operator_did_not_list_is_not_run(world: World) -> None:
    (world.source / "project.toml").write_text('[io.buildpacks]\nbuilder = "evil.example/builder"\n')

    error = world.failure()

    assert (error.reason, isinstance(error, Refused)) == ("builder_image_not_listed", True)


def test_forks_are_not_built_by_a_container_that_holds_the_login(world: World) -> None:
    assert world.failure(trusted=False).reason == "buildpacks_untrusted"


def test_what_buildpacks_cannot_have_is_refused_by_name(world: World) -> None:
    assert world.failure(secrets={"NPM": world.source / "start"}).reason == "build_secrets_refused"
    assert world.failure(platforms=("linux/amd64", "linux/arm64")).reason == "platforms_not_available"


def test_a_buildpack_that_fills_the_disk_is_ended(world: World) -> None:
    (world.source / "fill").touch()

    assert world.failure(limits=replace(LIMITS, disk=64 << 20)).reason == "build_disk_full"


def test_endless_output_of_a_buildpack_is_cut_and_counted(world: World) -> None:
    (world.source / "flood").touch()

    report = world.build(limits=replace(LIMITS, log_head=2000, log_tail=8000)).report

    assert report.dropped > 100_000
    assert len(world.text) < 20_000


def test_a_hanging_buildpack_ends_and_leaves_nothing(world: World) -> None:
    (world.source / "hang").touch()

    assert world.failure(limits=replace(LIMITS, seconds=8)).reason == "build_timeout"


def test_the_real_lifecycle_builds_and_exports(host: HostFacts, registry: str, tmp_path: Path) -> None:
    lifecycle = needs("lifecycle")
    push_run_image(registry, "builders/real")
    world = World(host, registry, push_builder(registry, "builders/real", lifecycle=lifecycle), tmp_path)

    built = world.build()

    assert built.digest == digest_of(registry, "shop/web", "run-1")
    assert [step.name for step in built.report.steps][1:3] == ["[detecting]", "[restoring]"]
    (world.source / "start").unlink()
    assert world.failure().reason == "buildpacks_none_detected"
