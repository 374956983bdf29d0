"""docker buildx's command lines, by its documented flags."""

from __future__ import annotations

from pathlib import Path

from pipeline.builders import BuildJob, Cache, Limits
from pipeline.builders.buildkit_commands import Room
from pipeline.builders.buildx_commands import Buildx, told

ROOM = Room(Path("/room"))
JOB = BuildJob(
    Path("/c"), "r:5000/shop/web", "run-1", 7, target="release", arguments={"A": "1"}, plain_http=True,
    secrets={"NPM": Path("/s/NPM")}, platforms=("linux/amd64",), cache=Cache(("r/main",), "r/main"),
    pins={"docker.io/library/a:1": "sha256:" + "0" * 64},
)  # fmt: skip
DOCKER = Buildx("docker", Path("/home/me/.docker"))
INSPECTED = """Name:   default
Driver: docker
Nodes:
Name:             default
Status:           running
BuildKit version: v0.29.0
Platforms:        linux/amd64*, linux/arm64
"""


def test_a_build_is_one_plain_manifest_without_attestations() -> None:
    argv = DOCKER.build(JOB, ROOM, Limits(), network="none", cgroup="")

    assert argv[:5] == ("docker", "buildx", "build", "--progress=rawjson", "--provenance=false")
    assert {"--sbom=false", "--network", "id=NPM,src=/s/NPM", "A=1", "/room/metadata.json"} <= set(argv)
    assert argv[argv.index("--output") + 1].endswith(
        "push=true,oci-mediatypes=true,rewrite-timestamp=true,registry.insecure=true"
    )
    assert argv[-1] == "/c"


def test_the_cache_is_written_without_an_image() -> None:
    argv = DOCKER.export(JOB, ROOM, Limits(), network="private", cgroup="")

    assert argv[argv.index("--output") + 1] == "type=cacheonly"
    assert argv[argv.index("--cache-to") + 1].startswith("type=registry,ref=r/main,registry.insecure=true,mode=max")


def test_pins_and_the_users_builders_are_told_by_environment() -> None:
    assert DOCKER.environment(JOB, ROOM) == {
        "BUILDX_CONFIG": "/home/me/.docker/buildx", "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": "/room/policy.json",
    }  # fmt: skip
    assert DOCKER.login == {"cliPluginsExtraDirs": ["/home/me/.docker/cli-plugins"]}


def test_the_version_and_platforms_are_read() -> None:
    assert told(INSPECTED) == ("v0.29.0", ("linux/amd64", "linux/arm64"))


def test_another_answer_tells_nothing() -> None:
    assert told("ERROR: no such builder") == ("", ())
