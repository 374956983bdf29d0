"""From a release to manifests."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from gitops import render
from gitops.layout import Place
from pipeline.errors import Invalid, Refused
from pipeline.records import Release
from pipeline.servicefile import Overrides, Resources, ServiceSpec

WEB = Place("shop", "production", "web")
IMAGE = f"registry.example:5000/shop/web@sha256:{'0' * 64}"


def release(spec: ServiceSpec, image: str = IMAGE) -> Release:
    return Release(
        id="shop.web.v41",
        project="shop",
        service="web",
        number=41,
        image=image,
        sha="1" * 40,
        ref="refs/heads/main",
        repository="local:shop/shop",
        source_url="http://git.example/shop.git",
        actor="deployer",
        subject_line="a change",
        run="r-1",
        spec=msgspec.Raw(msgspec.json.encode(spec)),
    )


def document(files: dict[str, bytes], name: str) -> Any:
    return YAML(typ="safe", pure=True).load(io.BytesIO(files[name]))


def container(spec: ServiceSpec) -> Any:
    deployment = document(render.render(release(spec), WEB), "deployment.yaml")
    return deployment["spec"]["template"]["spec"]["containers"][0]


def test_every_file_starts_with_the_header() -> None:
    first = b"# Rendered by Enclii from release v41; changes here are overwritten. Edit enclii.yaml instead.\n"
    files = render.render(release(ServiceSpec(name="web", port=80)), WEB)
    assert sorted(files) == ["deployment.yaml", "service.yaml"]
    assert all(data.startswith(first) and render.is_ours(data) for data in files.values())


def test_the_same_release_is_the_same_bytes() -> None:
    one, other = ({"B": "1", "A": "2"}, {"A": "2", "B": "1"})
    rendered = [render.render(release(ServiceSpec(name="web", env=env)), WEB) for env in (one, other)]
    assert rendered[0] == rendered[1]


def test_a_worker_has_no_service() -> None:
    assert list(render.render(release(ServiceSpec(name="web")), WEB)) == ["deployment.yaml"]


def test_all_that_the_file_says_is_in_the_container() -> None:
    spec = ServiceSpec(
        name="web", port=80, health="/up", command=("serve", "-v"), env={"LEVEL": "no"}, resources=Resources(cpu="500m")
    )
    assert container(spec) == {
        "name": "web",
        "image": IMAGE,
        "command": ["serve", "-v"],
        "env": [{"name": "LEVEL", "value": "no"}],
        "ports": [{"name": "http", "containerPort": 80}],
        "readinessProbe": {"httpGet": {"path": "/up", "port": 80}},
        "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}},
        "securityContext": {"allowPrivilegeEscalation": False},
    }


def test_the_environments_overrides_are_applied() -> None:
    spec = ServiceSpec(name="web", environments={"production": Overrides(replicas=7)})
    assert document(render.render(release(spec), WEB), "deployment.yaml")["spec"]["replicas"] == 7


def test_secrets_are_refused_by_name() -> None:
    with pytest.raises(Refused, match="TOKEN"):
        render.render(release(ServiceSpec(name="web", secrets=("TOKEN",))), WEB)


def test_an_image_by_tag_is_refused() -> None:
    with pytest.raises(Invalid):
        render.render(release(ServiceSpec(name="web"), image="registry.example/web:latest"), WEB)
