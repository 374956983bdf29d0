"""``enclii.yaml`` and ``project.yaml``: what a file says is read by our rules or refused."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from gitops import projectfile
from pipeline import names
from pipeline.errors import Invalid
from pipeline.servicefile import parse_servicefile
from tests.fuzz.inputs import broken, fuzzed, worsened

SERVICES = (Path(__file__).parents[1] / "data/servicefile/full.yaml").read_bytes()
SERVICE = {
    "services": {
        "web": {
            "path": "web", "port": 8080, "health": "/up", "replicas": 2, "env": {"A": "b"}, "secrets": ["KEY"],
            "build": {"dockerfile": "Dockerfile", "args": {"A": "b"}}, "resources": {"cpu": "500m", "memory": "1Gi"},
            "command": ["a", "b"], "release": {"command": ["migrate"]}, "environments": {"staging": {"replicas": 1}},
        }
    }
}  # fmt: skip
PROJECT = {
    "repositories": [{"id": "github:1", "name": "shop/web", "forge": "github", "url": "https://forge.example/shop/web"}],
    "environments": {
        "staging": {"branch": "next", "roles": {"deployer": ["group:developers"]}},
        "production": {
            "protected": True, "promotion": {"from": "staging", "soak": "10m", "approvals": 1, "approvers": ["ada"]},
            "rollback": {"automatic": True, "within": "20m"}, "domains": {"web": ["shop.example"]}, "cluster": "one",
            "freeze": [{"from": "2024-12-20 00:00", "until": "2025-01-02 00:00", "reason": "holidays", "zone": "UTC"}],
        },
    },
    "roles": {"admin": ["ada@example.org"]},
}  # fmt: skip


def yaml_of(sound: bytes, document: object) -> st.SearchStrategy[bytes]:
    """Broken YAML, and JSON, which is YAML, that says something worse."""
    return broken([sound, json.dumps(document).encode()]) | worsened([document]).map(lambda it: json.dumps(it).encode())


@fuzzed
@given(yaml_of(SERVICES, SERVICE))
def test_a_service_file_is_read_or_refused(data: bytes) -> None:
    try:
        found = parse_servicefile(data.decode(errors="replace"))
    except Invalid:
        return
    assert found.services
    for one in found.services:
        assert names.NAME.fullmatch(one.name)
        for path in (one.path, one.build.dockerfile or "."):
            assert ".." not in PurePosixPath(path).parts
            assert not path.startswith(("/", "-"))


@fuzzed
@given(yaml_of(json.dumps(PROJECT, indent=2).encode(), PROJECT))
def test_a_project_file_is_read_or_refused(data: bytes) -> None:
    try:
        found = projectfile.parse(data, project="shop")
    except Invalid:
        return
    for one in found.environments:
        assert names.NAME.fullmatch(one.name)
        assert not one.branch or names.ref(f"refs/heads/{one.branch}")


def test_the_sound_ones_are_read() -> None:
    assert parse_servicefile(SERVICES.decode()).services
    assert parse_servicefile(json.dumps(SERVICE)).services
    assert projectfile.parse(json.dumps(PROJECT).encode(), project="shop").environments
