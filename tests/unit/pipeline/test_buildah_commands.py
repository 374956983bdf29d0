"""buildah's command lines as values, and its last words as errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.builders import buildah_commands as commands
from pipeline.builders.buildah_commands import Sandbox, Store
from pipeline.builders.buildah_outcome import of_build, of_pull, of_push

STORE = Store(Path("/s/storage"), Path("/s/run"), "overlay")
PREFIX = ("buildah", "--root", "/s/storage", "--runroot", "/s/run", "--storage-driver", "overlay")
SHUT_IN = Sandbox("oci", "/usr/sbin/runc", Path("/s/runtime"), "private", "/group/build")


def build(sandbox: Sandbox) -> tuple[str, ...]:
    return commands.build_command(
        STORE,
        sandbox,
        context=Path("/c"),
        dockerfile=Path("/c/Dockerfile"),
        target="release",
        arguments={"B": "2", "A": "--network=host"},
        timestamp=7,
        iidfile=Path("/s/iid"),
        processes=9,
    )


def test_a_build_is_shut_in_and_reproducible() -> None:
    assert build(SHUT_IN) == (
        *PREFIX,
        *("build", "--isolation", "oci", "--runtime", "/usr/sbin/runc", "--runtime-flag", "root=/s/runtime"),
        *("--cgroup-parent", "/group/build", "--format", "oci", "--layers", "--timestamp", "7", "--pull=never"),
        *("--http-proxy=false", "--identity-label=false", "--iidfile", "/s/iid", "--file", "/c/Dockerfile"),
        *("--target", "release", "--build-arg", "A=--network=host", "--build-arg", "B=2", "--", "/c"),
    )


def test_without_a_control_group_the_number_of_processes_is_bounded_by_user() -> None:
    assert "nproc=9:9" in build(replace(SHUT_IN, cgroup_parent=""))


def test_no_network_is_said_in_words() -> None:
    argv = build(replace(SHUT_IN, network="none"))

    assert argv[argv.index("--network") + 1] == "none"


def test_a_push_names_the_file_for_the_digest() -> None:
    argv = commands.push_command(STORE, "id", "127.0.0.1:5000/a:b", digestfile=Path("/d"), plain_http=True)

    assert argv == (
        *PREFIX,
        *("push", "--quiet", "--format", "oci", "--digestfile", "/d", "--tls-verify=false"),
        *("--", "id", "docker://127.0.0.1:5000/a:b"),
    )


@pytest.mark.parametrize(
    ("code", "line", "oom", "reason"),
    [
        (7, 'Error: building at STEP "RUN x": while running runtime: exit status 7', False, "build_failed"),
        (1, 'Error: building at STEP "RUN x": while running runtime: exit status 1', True, "build_memory"),
        (7, 'Error: building at STEP "RUN x": while running runtime: exit status 7', True, "build_failed"),
        (1, 'Error: … "RUN connection refused": while running runtime: exit status 1', False, "build_failed"),
        (125, "Error: … write /x: no space left on device", False, "build_disk_full"),
        (125, 'Error: … Unknown instruction: "COPPY"', False, "dockerfile_syntax"),
        (125, "Error: … dial tcp 127.0.0.1:1: connect: connection refused", False, "registry_unavailable"),
        (125, 'Error: … copier: stat: "/x": no such file or directory', False, "build_failed"),
    ],
)
def test_the_last_line_decides_what_a_failed_build_means(code: int, line: str, oom: bool, reason: str) -> None:
    assert of_build(code, line, "tail", out_of_memory=oom).reason == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Error: … manifest unknown", "base_image_missing"),
        ("Error: … requested access to the resource is denied", "base_image_denied"),
        ("Error: … lookup host: no such host", "registry_unavailable"),
        ("Error: something new", "base_image_unavailable"),
    ],
)
def test_why_a_base_image_could_not_be_had(line: str, reason: str) -> None:
    assert of_pull("x", line).reason == reason


def test_a_refused_push_is_tried_again_under_its_own_reason() -> None:
    assert of_push("x", "Error: … unauthorized: authentication required").reason == "registry_denied"


@pytest.mark.parametrize(
    ("written", "there"),
    [(None, False), ("", False), ("[]", False), ('[{"id": "a"}]', True), ("[{", True)],
    ids=["no-list", "never-written", "empty", "one", "torn"],
)
def test_a_store_has_containers_unless_its_list_says_that_there_are_none(
    tmp_path: Path, written: str | None, there: bool
) -> None:
    store = Store(tmp_path, tmp_path / "run", "overlay")
    if written is not None:
        (tmp_path / "overlay-containers").mkdir()
        (tmp_path / "overlay-containers" / "containers.json").write_text(written)

    assert store.has_containers() is there
