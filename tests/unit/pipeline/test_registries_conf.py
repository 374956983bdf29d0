"""Mirrors and plain HTTP as buildah and podman are told of them."""

from __future__ import annotations

import tomllib

from pipeline.builders.registries_conf import registries_conf
from pipeline.parsing import addresses, mirrors
from pipeline.registries import Registries


def test_a_mirror_goes_before_its_registry_and_tls_is_left_out_only_where_it_may_be() -> None:
    told = mirrors("docker.io=near:5000, docker.io=far.example")

    found = tomllib.loads(registries_conf(Registries(plain_http=frozenset(addresses("near:5000")), mirrors=dict(told))))

    assert found["unqualified-search-registries"] == ["docker.io"]
    assert found["registry"] == [
        {
            "location": "docker.io",
            "insecure": False,
            "mirror": [{"location": "near:5000", "insecure": True}, {"location": "far.example", "insecure": False}],
        },
        {"location": "near:5000", "insecure": True},
    ]


def test_a_mirror_is_asked_before_its_registry() -> None:
    registries = Registries(mirrors={"docker.io": ("near:5000",)})

    assert registries.places("docker.io") == ("near:5000", "docker.io")
    assert registries.places("ghcr.io") == ("ghcr.io",)
