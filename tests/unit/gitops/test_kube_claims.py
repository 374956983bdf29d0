"""What is left of a document when others keep some of its fields."""

from __future__ import annotations

from typing import Any

import pytest

from gitops.clusters.kube_claims import without


def document() -> dict[str, Any]:
    container = {
        "name": "web", "image": "i", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"containerPort": 8080, "name": "http"}],
    }  # fmt: skip
    annotations = {"a.example/b.c": "x", "enclii.dev/deployment": "d1"}
    return {
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
    }


CONTAINER = '.spec.template.spec.containers[name="web"]'


@pytest.mark.parametrize(
    ("field", "gone"),
    [
        (".spec.replicas", lambda one: one["spec"].pop("replicas")),
        (".metadata.annotations.a.example/b.c", lambda one: one["metadata"]["annotations"].pop("a.example/b.c")),
        (CONTAINER + '.env[name="B"].value', lambda one: _container(one)["env"][1].pop("value")),
        (CONTAINER + ".ports[containerPort=8080].name", lambda one: _container(one)["ports"][0].pop("name")),
    ],
)
def test_a_field_is_taken_out_and_nothing_else(field: str, gone: Any) -> None:
    wanted = document()
    gone(wanted)

    assert without(document(), [field]) == wanted


@pytest.mark.parametrize(
    "field",
    [
        CONTAINER + ".image", ".metadata.annotations.enclii.dev/deployment", ".spec.unknown",
        '.spec.template.spec.containers[name="other"].env', ".spec.template.spec.containers",
        '.spec.template.spec.containers[name="web"]', "nonsense", "",
    ],
)  # fmt: skip
def test_the_release_itself_and_what_is_not_understood_are_never_left_out(field: str) -> None:
    before = document()

    assert without(before, [field]) is None
    assert before == document()


def _container(one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = one["spec"]["template"]["spec"]["containers"][0]
    return found
