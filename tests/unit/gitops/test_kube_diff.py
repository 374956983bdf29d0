"""What would change is told field by field, named things by their name."""

from __future__ import annotations

from typing import Any

from gitops.clusters.kube_diff import changes


def deployment(image: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": image}]
    return {"metadata": {"name": "web", "resourceVersion": image}, "spec": {"containers": containers, **spec}}


def test_a_field_is_told_by_its_path_and_noise_is_left_out() -> None:
    assert changes("Deployment web", deployment("a"), deployment("b")) == (
        '~ Deployment web .spec.containers[web].image: "a" -> "b"',
    )


def test_what_is_not_there_would_be_made() -> None:
    assert changes("ConfigMap a", None, {"data": {}}) == ("+ ConfigMap a",)


def test_a_field_that_appears_and_one_that_goes_are_told() -> None:
    told = changes("Deployment web", deployment("a", old=1), deployment("a", new=[1]))

    assert told == ("~ Deployment web .spec.new: (none) -> [1]", "~ Deployment web .spec.old: 1 -> (none)")
