"""The Dockerfile scanner: base images by their full names, and what a shared builder refuses."""

from __future__ import annotations

import pytest

from pipeline.dockerfile import full_reference, scan
from pipeline.errors import EncliiError, Invalid, Refused

PYTHON = "docker.io/library/python:3.13"


def test_stages_and_scratch_are_no_base_images() -> None:
    text = "FROM python:3.13 AS build\nFROM build AS test\nFROM scratch\nCOPY --from=0 /a /a\nCOPY --from=build /b /b\n"

    assert scan(text).images == (PYTHON,)


def test_images_of_copy_and_of_mounts_count() -> None:
    text = "FROM scratch\nCOPY --from=busybox /bin /bin\nRUN --mount=type=bind,from=ghcr.io/o/r:1,target=/m x\n"

    assert scan(text).images == ("docker.io/library/busybox:latest", "ghcr.io/o/r:1")


@pytest.mark.parametrize(("arguments", "image"), [({}, PYTHON), ({"V": "3.12"}, "docker.io/library/python:3.12")])
def test_a_global_argument_names_the_base(arguments: dict[str, str], image: str) -> None:
    assert scan("ARG V=3.13\nFROM --platform=linux/amd64 python:${V}\n", arguments=arguments).images == (image,)


def test_continuation_lines_and_comments_are_joined() -> None:
    assert scan("FROM \\\n# a comment\n  python:3.13 \\\n  AS x\n").stages == ("x",)


def test_directives_are_read_from_the_first_lines_only() -> None:
    assert scan("# syntax=docker/dockerfile:1\nFROM scratch\n").syntax == "docker/dockerfile:1"
    assert scan("# hello\n# syntax=x\nFROM scratch\n").syntax is None


def test_exposed_ports() -> None:
    assert scan("FROM scratch\nARG P=80\nEXPOSE $P 443/tcp 53/udp\nEXPOSE 80\n").ports == (80, 443)


@pytest.mark.parametrize(
    "text", ["", "RUN x\n", "FROM\n", "FROM a b c d\n", "FROM UPPER/x\n", "# escape=`\nFROM scratch\n", "FROM ${X}\n"]
)
def test_what_names_no_image_is_invalid(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        scan(text)

    assert caught.value.reason == "dockerfile_syntax"


@pytest.mark.parametrize(
    "line",
    [
        "ADD http://127.0.0.1/x /x",
        "ADD git@host:o/r.git /x",
        "ARG U=http://h/x\nADD $U /x",
        "ENV U http://h/x\nADD ${U} /x",
        "ADD ${U:-http://h/x} /x",
        "ADD $FROM_BASE /x",
        "ONBUILD ADD http://h/x /x",
        'ADD ["http://h/x", "/x"]',
        "add \\\n http://h/x /x",
        'ADD ["http:\\u002f\\u002fh/x", "/x"]',
        "ADD ht\\tp:/\\/h/x /x",
        'ADD "http:"//h/x /x',
        "ADD\thttp://h/x /x",
        "ADD \u2028 http://h/x /x",
        "COPY --from=oci:layout / /",
        "COPY --from=oci-archive:/etc/x / /",
        "RUN --mount=type=bind,from=dir:/etc,target=/m x",
    ],
)
def test_what_would_act_with_the_builders_rights_is_refused(line: str) -> None:
    with pytest.raises(EncliiError) as caught:
        scan(f"FROM scratch\n{line}\n")

    assert isinstance(caught.value, Refused)


def test_adding_a_file_of_the_context_is_fine() -> None:
    assert scan("FROM scratch\nARG F=a.tar\nADD $F /\n").images == ()


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("o/r:1", "docker.io/o/r:1"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
        ("localhost/a", "localhost/a:latest"),
        (f"ghcr.io/o/r@sha256:{'0' * 64}", f"ghcr.io/o/r@sha256:{'0' * 64}"),
    ],
)
def test_full_references(written: str, full: str) -> None:
    assert full_reference(written) == full
