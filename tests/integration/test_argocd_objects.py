"""What Argo CD is told, judged by a real API server that has Argo CD's kinds; no ApplicationSet controller is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gitops.layout import Place
from gitops.wiring import Source, Unit, argocd
from tests.support.argocd import NAMESPACE, name
from tests.support.kubernetes import kubectl

SOURCE = Source("https://git.example/enclii/config.git")
SITE = argocd.Site(namespace=NAMESPACE)
WEB = Unit(Place("shop", "production", "web"), "shop-production")
MOVED = Unit(Place("shop", "staging", "web"), "preview")
DOCUMENTS = (
    argocd.project(SITE, SOURCE),
    argocd.application(WEB, SITE, SOURCE),
    argocd.application_set([WEB, MOVED], ["shop/next"], SITE, SOURCE),
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["kind"])
def test_argo_cds_own_schema_takes_what_is_written_with_no_field_unknown(document: Mapping[str, Any]) -> None:
    mine = {**document, "metadata": {**document["metadata"], "name": name()}}

    said = kubectl("create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", stdin=json.dumps(mine))

    assert json.loads(said)["spec"] == mine["spec"]


def test_a_field_that_argo_cd_does_not_know_is_refused() -> None:
    wrong = {**DOCUMENTS[2], "spec": {**DOCUMENTS[2]["spec"], "generator": []}}

    said = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(wrong), check=False)

    assert 'unknown field "spec.generator"' in said
