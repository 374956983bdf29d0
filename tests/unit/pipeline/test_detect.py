"""What a service is built with, by the names of its files."""

from __future__ import annotations

import pytest

from pipeline.detect import Plan, detect
from pipeline.errors import Invalid
from pipeline.servicefile import Build, Buildpacks, ServiceSpec

WEB = ServiceSpec(name="web", path="services/web")


def test_what_is_configured_wins() -> None:
    spec = ServiceSpec(name="web", build=Build(dockerfile="docker/web"))

    assert detect(["Dockerfile", "docker/web"], spec) == Plan("dockerfile", "docker/web")


@pytest.mark.parametrize("name", ["Dockerfile", "Containerfile"])
def test_a_dockerfile_at_the_path_wins_over_other_markers(name: str) -> None:
    assert detect([f"services/web/{name}", "services/web/package.json"], WEB) == Plan("dockerfile", name)


def test_a_dockerfile_elsewhere_does_not_count() -> None:
    with pytest.raises(Invalid, match=r"looked for Dockerfile, Containerfile, project\.toml"):
        detect(["Dockerfile", "services/api/Dockerfile"], WEB)


def test_a_configured_dockerfile_must_exist() -> None:
    with pytest.raises(Invalid) as caught:
        detect(["Dockerfile"], ServiceSpec(name="web", build=Build(dockerfile="x")))

    assert caught.value.reason == "dockerfile_missing"


def test_sources_for_buildpacks_are_named() -> None:
    plan = detect(["services/web/Procfile", "services/web/package.json"], WEB)

    assert plan.kind == "buildpacks"
    assert "Procfile, package.json" in plan.why


def test_configured_buildpacks_go_before_a_dockerfile() -> None:
    plan = detect(["Dockerfile"], ServiceSpec(name="web", build=Build(buildpacks=Buildpacks())))

    assert plan == Plan("buildpacks")
