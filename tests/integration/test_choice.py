"""Which builder is taken, from what is really there, and what is said about the others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.builders.choice import Chosen, choose, sweep
from pipeline.errors import EncliiError, Invalid
from pipeline.settings import Settings
from tests.support.components import needs

NOWHERE = "unix:///nonexistent/buildkitd.sock"


@pytest.fixture
def told(tmp_path: Path) -> Settings:
    needs("buildah", "runc", "podman")
    return Settings.from_env({"ENCLII_HOME": str(tmp_path), "ENCLII_BUILDKIT_HOST": NOWHERE}, process="builder")


def chosen(told: Settings) -> Chosen:
    async def story() -> Chosen:
        found = await choose(told, told.home)
        await sweep(found, told.home / "contexts")
        return found

    return asyncio.run(story())


def refused(told: Settings) -> str:
    with pytest.raises(EncliiError) as caught:
        chosen(told)
    return caught.value.reason


def test_auto_takes_what_works_and_says_why_not_the_others(told: Settings) -> None:
    found = chosen(told)

    assert found.by_kind["dockerfile"].facts.name == "buildah"
    assert "ENCLII_BUILDER=auto took it" in found.why[0]
    assert [why.partition(":")[0] for why in found.why[1:3]] == ["not buildkit", "not buildx"]
    assert found.why[3:] == (
        "no Buildpacks: ENCLII_BUILDPACKS_BUILDERS lists no image", "accounts of registries: none",
    )  # fmt: skip


def test_what_is_asked_for_and_does_not_work_is_not_replaced(told: Settings) -> None:
    assert refused(replace(told, builder="buildkit")) in {"buildkit_away", "buildctl_missing"}
    assert refused(replace(told, builder="buildah", buildpacks="creator")) == "no_builder_image"


def test_buildpacks_are_run_by_podman_once_an_image_is_listed(told: Settings) -> None:
    found = chosen(replace(told, builder="buildah", buildpacks_builders="r.example/builder:1, r.example/other:1"))

    assert found.by_kind["buildpacks"].facts.place == "r.example/builder:1"
    assert any("list only builder images that you trust" in problem for problem in found.problems())


def test_a_broken_file_of_accounts_is_found_before_the_first_build(told: Settings, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")

    with pytest.raises(Invalid, match="is no JSON object"):
        chosen(replace(told, registry_config=Path("config.json")))
