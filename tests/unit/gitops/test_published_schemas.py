"""What no test can run is at least what the published schemas know: routes, external secrets, admission policies.

``tests/data/schemas.json`` says in our words what the CustomResourceDefinitions allow of the fields that are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gitops.layout import Place
from gitops.rendering import network, secrets
from gitops.rendering.surroundings import Surroundings
from gitops.wiring.admission import Accepted, Identity, kyverno, policy_controller
from gitops.wiring.sigstore_root import Instance
from pipeline.domains import Entrance
from pipeline.keys import SigningKey
from pipeline.servicefile import ServiceSpec
from tests.support.schema import problems

ROOT = Path(__file__).parents[3]
SCHEMAS = json.loads((ROOT / "tests/data/schemas.json").read_text())
WEB = Place("shop", "production", "web")
KEY = SigningKey.generate().public.pem.decode()
SIGSTORE = Instance("org", "root", "https://fulcio.example", "PEM", "https://rekor.example", "PEM", "https://ct", "PEM")
BOTH = Accepted([KEY, KEY], Identity("https://enclii.example/signer", "https://issuer.example", SIGSTORE))
GATEWAY = Entrance(kind="gateway", name="public", namespace="edge", section="https")
ELSEWHERE = ServiceSpec(name="web", external_secrets={"API_KEY": "vault/shop/api-key", "OTHER": "vault"})


@pytest.mark.parametrize(
    "document",
    [
        network.route(8080, ("shop.example.com", "*.shop.example.com"), WEB, GATEWAY),
        network.route(8080, ("shop.example.com",), WEB, Entrance(kind="gateway", name="public")),
        secrets.external_secret(ELSEWHERE, WEB),
        *kyverno(BOTH, ["registry.example:5000"]),
        *policy_controller(BOTH, ["registry.example"]),
        *(YAML(typ="safe").load(file) for file in sorted((ROOT / "manifests/policies").glob("*.yaml"))),
    ],
    ids=lambda document: document["kind"],
)
def test_a_published_schema_knows_every_field(document: Mapping[str, Any]) -> None:
    schema = SCHEMAS[f"{document['apiVersion']} {document['kind']}"]

    assert list(problems(document["spec"], schema)) == []


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_a_field_that_nobody_publishes_is_found(kind: str) -> None:
    assert list(problems({"secretStore": "vault"}, SCHEMAS[kind])) == ["spec.secretStore is unknown"]


def test_a_reference_to_a_secret_that_sops_decrypts_is_plain_kubernetes() -> None:
    spec = ServiceSpec(name="web", existing_secrets={"TOKEN": "shop-tokens/token"})
    (entry,) = secrets.references(spec, WEB, Surroundings())

    assert entry == {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop-tokens", "key": "token"}}}
