"""What a state folder becomes before anything is started, and what its processes are told."""

from __future__ import annotations

import os
from pathlib import Path

from console import installation

ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def test_a_registry_and_a_config_repository_elsewhere_take_the_place_of_those_beside_us(tmp_path: Path) -> None:
    installation.prepare(tmp_path, environ=ENVIRON)
    elsewhere = {"ENCLII_REGISTRY": "registry.example.com", "ENCLII_CONFIG_URL": "https://git.example/config.git"}

    told = [
        installation.environment(tmp_path, name, environ=said)
        for said in ({}, elsewhere)
        for name in ("builder", "syncer")
    ]

    assert [one["ENCLII_REGISTRY"].partition(":")[0] for one in told] == ["127.0.0.1"] * 2 + [
        "registry.example.com"
    ] * 2
    assert [one.get("ENCLII_REGISTRY_PLAIN_HTTP") for one in told] == ["true"] * 2 + [None] * 2
    assert told[3]["ENCLII_CONFIG_URL"] == "https://git.example/config.git"


def test_a_folder_in_which_only_a_cluster_was_added_is_taken(tmp_path: Path) -> None:
    (tmp_path / "clusters.yaml").write_text("{}\n")

    assert not installation.prepare(tmp_path, environ=ENVIRON).moved
    assert installation.instance_of(tmp_path)
