"""BuildKit's command lines, its versions, and its last words as errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.builders import BuildJob, Cache, Limits
from pipeline.builders.buildkit_commands import (
    Daemon,
    Room,
    build_command,
    checked_address,
    export_command,
    source_policy,
)
from pipeline.builders.buildkit_daemon import checked_version
from pipeline.builders.buildkit_outcome import of_build
from pipeline.builders.buildkit_sources import fraction, own_key
from pipeline.builders.dockerfiles import mounts, scanned, scoped, without_frontend
from pipeline.errors import Permanent, Refused, Retryable, Unavailable

DAEMON = Daemon("buildctl", "unix:///run/buildkit/buildkitd.sock")
JOB = BuildJob(
    Path("/c"), "r:5000/shop/web", "run-1", 7, target="release", arguments={"A": "1"},
    secrets={"NPM": Path("/s/NPM")}, platforms=("linux/amd64", "linux/arm64"),
    cache=Cache(("r/own", "r/main"), "r/own"),
)  # fmt: skip


def build(job: BuildJob = JOB, *, network: str = "private") -> tuple[str, ...]:
    return build_command(DAEMON, job, Room(Path("/room")), Limits(), network=network, cgroup="/g/build")


def test_a_build_pushes_and_reads_every_cache_it_may() -> None:
    argv = build()

    assert argv[:4] == ("buildctl", "--addr", "unix:///run/buildkit/buildkitd.sock", "build")
    assert {"target=release", "platform=linux/amd64,linux/arm64", "build-arg:A=1", "cgroup-parent=/g/build"} <= set(
        argv
    )
    assert [word for word in argv if word.startswith("type=registry")] == [
        "type=registry,ref=r/own",
        "type=registry,ref=r/main",
    ]
    assert "--export-cache" not in argv


def test_a_secret_is_a_file_and_never_a_value() -> None:
    assert "id=NPM,src=/s/NPM" in build()


def test_without_cache_nothing_is_read() -> None:
    argv = build(replace(JOB, no_cache=True))

    assert "--no-cache" in argv
    assert "--import-cache" not in argv


def test_the_cache_is_exported_by_a_call_of_its_own_to_the_own_class() -> None:
    argv = export_command(DAEMON, JOB, Room(Path("/room")), Limits(), network="none", cgroup="")

    assert "--output" not in argv
    assert argv[-1].startswith("type=registry,ref=r/own,mode=max")


def test_pins_become_a_source_policy() -> None:
    assert "docker-image://docker.io/library/a:1@sha256:" in source_policy(
        {"docker.io/library/a:1": "sha256:" + "0" * 64}
    )


@pytest.mark.parametrize(
    ("address", "reason"), [("tcp://builder:1234", "buildkit_without_tls"), ("ssh://builder", "bad_settings")]
)
def test_an_address_that_is_not_safe_is_refused(address: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        checked_address(address, None)

    assert caught.value.reason == reason


def test_a_daemon_over_tcp_is_asked_with_our_certificate(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()

    address = checked_address("tcp://builder:1234", tmp_path)

    assert Daemon("buildctl", address, tmp_path).command("build")[3:5] == ("--tlsdir", str(tmp_path))


@pytest.mark.parametrize(
    ("version", "frontend", "shown"),
    [
        ("v0.28.1", "", "0.28.1"),
        ("0.34.2", "1.28", "0.34.2"),
        ("v0.0.0+unknown", "1.28.0-dev", "(unversioned, frontend 1.28.0-dev)"),
    ],
)
def test_a_version_at_the_floor_is_taken(version: str, frontend: str, shown: str) -> None:
    assert checked_version(version, frontend) == shown


@pytest.mark.parametrize(
    ("version", "frontend"), [("v0.28.0", "1.22"), ("v0.12.5", ""), ("v0.0.0+unknown", "1.22"), ("", "")]
)
def test_an_older_or_unknown_version_is_not(version: str, frontend: str) -> None:
    with pytest.raises(Unavailable) as caught:
        checked_version(version, frontend)

    assert caught.value.reason == "buildkit_too_old"


SH = 'process "/bin/sh -c echo connection refused" did not complete successfully: exit code: '
METADATA = "[internal] load metadata for docker.io/library/python:9"
EXPORT = "exporting to image"


@pytest.mark.parametrize(
    ("said", "failed", "kind", "reason"),
    [
        (SH + "7", "[2/2] RUN", Permanent, "build_failed"),
        (SH + "137", "[2/2] RUN", Permanent, "build_memory"),
        ("dockerfile parse error on line 2: unknown instruction: COPYY", "", Permanent, "dockerfile_syntax"),
        ("failed to push: unexpected status: 503 Service Unavailable", EXPORT, Retryable, "registry_unavailable"),
        ("failed to push r/x: 401 unauthorized", EXPORT, Retryable, "registry_denied"),
        ("docker.io/library/python:9: not found", METADATA, Permanent, "base_image_missing"),
        ("failed to resolve source metadata for x: i/o timeout", "", Retryable, "registry_unavailable"),
        ("failed to list workers: Unavailable: connection error", "", Retryable, "builder_unavailable"),
        ("write /var/lib/buildkit/x: no space left on device", "[1/2] COPY", Permanent, "build_disk_full"),
    ],
)
def test_what_buildctl_says_last_decides(said: str, failed: str, kind: type[Exception], reason: str) -> None:
    error = of_build(["a line before", f"error: failed to solve: {said}"], failed, "tail")

    assert isinstance(error, kind)
    assert error.reason == reason


def test_nothing_said_at_all_is_the_daemons_fault() -> None:
    assert isinstance(of_build([], "", ""), Unavailable)


def test_the_frontend_line_becomes_a_comment_and_no_line_moves() -> None:
    text = "# escape=\\\n# Syntax = evil/x:1\nFROM scratch\n"

    assert without_frontend(text).splitlines() == ["# not followed: escape=\\", *text.splitlines()[1:]]


@pytest.mark.parametrize(
    "head",
    ["# syntax=evil/x:1", "#!/bin/x\n# syntax=evil/x", "// syntax=evil/x", "\u00a0# syntax=evil/x y",
     "# Check=a\n#SYNTAX = e/x", '{"syntax": "evil/x"}\n#'],
)  # fmt: skip
def test_no_form_of_the_frontend_line_names_another_frontend(tmp_path: Path, head: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"{head}\nFROM scratch\n")

    with pytest.raises(Refused) as caught:
        scanned(replace(JOB, context=tmp_path))

    assert caught.value.reason == "dockerfile_frontend"


def test_an_argument_names_no_frontend_and_no_mounted_cache(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")

    with pytest.raises(Refused):
        scanned(replace(JOB, context=tmp_path, arguments={"BUILDKIT_SYNTAX": "evil/x"}))


def test_what_steps_mount_is_apart_for_each_scope() -> None:
    room = Room(Path("/room"))
    argv = build_command(DAEMON, replace(JOB, scope="one"), room, Limits(), network="private", cgroup="")

    assert "build-arg:BUILDKIT_CACHE_MOUNT_NS=one" in argv


def test_the_time_of_files_stands_for_the_sources_by_a_key_that_is_kept(tmp_path: Path) -> None:
    key, again = own_key(tmp_path / "key"), own_key(tmp_path / "key")

    assert fraction(key, "sha256:a") == fraction(again, "sha256:a")
    assert fraction(key, "sha256:a") != fraction(key, "sha256:b")
    assert fraction(key, "sha256:a") != fraction(b"another", "sha256:a")


def test_a_key_that_was_cut_off_stands_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"")

    with pytest.raises(Refused, match="no key of 32 bytes"):
        own_key(tmp_path / "key")


def test_a_mount_is_found_however_its_line_is_broken() -> None:
    assert mounts("RUN --mo\\\n# why\n\nunt=type=cache,target=/c x")
    assert not mounts("RUN echo mount")


def test_each_stage_has_its_scope_behind_its_first_line() -> None:
    text = "ARG V=1\nFROM a:$V \\\n  AS one\nRUN x \\\nFROM no\nfrom b\n"

    assert scoped(text, "s").splitlines() == [
        "ARG V=1", "FROM a:$V \\", "  AS one", "ARG ENCLII_BUILD_SCOPE=s", "RUN x \\", "FROM no", "from b",
        "ARG ENCLII_BUILD_SCOPE=s",
    ]  # fmt: skip


def test_a_here_document_is_left_as_it_is() -> None:
    text = "FROM a\nRUN python3 <<EOF\nfrom os import path\nEOF\nFROM b"

    assert scoped(text, "s").splitlines() == [
        "FROM a", "ARG ENCLII_BUILD_SCOPE=s", "RUN python3 <<EOF", "from os import path", "EOF", "FROM b",
        "ARG ENCLII_BUILD_SCOPE=s",
    ]  # fmt: skip
