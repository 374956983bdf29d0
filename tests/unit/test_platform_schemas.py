"""The manifests for KEDA and the Prometheus Operator, neither of which any test runs, against their published schemas.

``tests/data/platform/schemas.json`` has, of the CustomResourceDefinitions, what is used; each says where it is from.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.schema import problems

ROOT = Path(__file__).parents[2]
SCHEMAS = json.loads((ROOT / "tests/data/platform/schemas.json").read_text())
FILES = ("platform/components/keda/builder.yaml", "monitoring/servicemonitor.yaml", "monitoring/rules.yaml")
DOCUMENTS = [one for file in FILES for one in YAML(typ="safe").load_all((ROOT / "manifests" / file).read_text())]
SCALED = [one["spec"] for one in DOCUMENTS if one["kind"] == "ScaledObject"]


def schema_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMAS[f"{document['apiVersion']} {document['kind']}"]
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_published_schema_knows_every_field(document: dict[str, Any]) -> None:
    assert list(problems(document["spec"], schema_of(document))) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_a_field_with_a_wrong_name_is_found(document: dict[str, Any]) -> None:
    assert list(problems({**document["spec"], "relabelling": []}, schema_of(document))) == [
        "spec.relabelling is unknown"
    ]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("maxReplicaCount", 0, "spec.maxReplicaCount is 0"),
        ("maxReplicaCount", True, "spec.maxReplicaCount is no integer"),
        ("triggers", [], "spec.triggers is []"),
        ("scaleTargetRef", {"name": ""}, "spec.scaleTargetRef.name is ''"),
    ],
)
def test_a_value_that_keda_refuses_is_found(field: str, value: Any, said: str) -> None:
    assert list(problems({**SCALED[0], field: value}, SCHEMAS["keda.sh/v1alpha1 ScaledObject"])) == [said]


def test_what_the_jetstream_scaler_does_not_know_or_misses_is_found() -> None:
    spec = copy.deepcopy(SCALED[0])
    told = spec["triggers"][0]["metadata"]
    told["consumerName"] = told.pop("consumer")
    told["lagThreshold"] = "two"

    assert set(problems(spec, SCHEMAS["keda.sh/v1alpha1 ScaledObject"])) == {
        "spec.triggers[0].metadata.consumer is missing",
        "spec.triggers[0].metadata.consumerName is unknown",
        "spec.triggers[0].metadata.lagThreshold is 'two'",
    }


@pytest.mark.parametrize("spec", SCALED, ids=lambda one: one["scaleTargetRef"]["name"])
def test_no_more_replicas_are_wanted_at_least_than_at_most(spec: dict[str, Any]) -> None:
    assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]


@pytest.mark.parametrize("overlay", ["base", "overlays/ha"])
def test_keda_is_told_of_the_account_that_the_servers_have(overlay: str) -> None:
    configured = (ROOT / "manifests/platform" / overlay / "nats.conf").read_text()
    told = [one["triggers"][0]["metadata"] for one in SCALED]

    assert all(f"\n  {one['account']}: {{\n    jetstream: enabled" in configured for one in told)
    assert {(one["stream"], one["consumer"]) for one in told} == {("PIPE", "builder")}
