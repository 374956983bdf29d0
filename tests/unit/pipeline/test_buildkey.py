"""The build key depends on every input and on nothing but the inputs."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.buildkey import build_key

INPUTS: dict[str, Any] = {
    "tree": "1" * 40,
    "dockerfile": "Dockerfile",
    "target": "release",
    "arguments": {"A": "1", "B": "2"},
    "bases": {"docker.io/library/python:3.13": "sha256:" + "2" * 64},
    "builder_class": "buildah-oci",
}


def test_the_order_of_arguments_does_not_matter() -> None:
    assert build_key(**{**INPUTS, "arguments": {"B": "2", "A": "1"}}) == build_key(**INPUTS)


def test_the_key_is_stable_across_versions_of_the_program() -> None:
    assert build_key(**INPUTS) == "56dd8fa0e411400ab34fa350769c4ee89fe6a0253690e57b7e553a33572e4ab2"


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_changes_the_key(name: str) -> None:
    other = {"x": "y"} if isinstance(INPUTS[name], dict) else "other"

    assert build_key(**{**INPUTS, name: other}) != build_key(**INPUTS)


def test_other_platforms_are_another_image() -> None:
    one, both = ("linux/amd64",), ("linux/amd64", "linux/arm64")

    assert len({build_key(**INPUTS, platforms=platforms) for platforms in ((), one, both)}) == 3
