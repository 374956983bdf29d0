"""How a cluster's entry says where its sync tool is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gitops.clusters import tool_settings
from gitops.clusters.argocd import ArgoCD
from gitops.clusters.flux import Flux
from gitops.clusters.tool_settings import Around
from gitops.wiring import Source
from pipeline.errors import Invalid


async def never(_: str, __: str) -> bool:
    return False


AROUND = Around(Source("https://enclii:secret@git.example/config.git"), "local", Path("/home/of/it"), never)


def made(sync: str, **settings: Any) -> object:
    return tool_settings.made(sync, settings, AROUND, cluster="east")


def test_an_entry_without_settings_is_the_usual_installation() -> None:
    assert isinstance(made("argocd"), ArgoCD)
    assert isinstance(made("flux"), Flux)


@pytest.mark.parametrize(
    ("sync", "settings", "field"),
    [
        ("argocd", {"adress": "x"}, "adress"),
        ("argocd", {"url": "argocd.example"}, "url"),
        ("argocd", {"url": "https://argocd.example"}, "webhook_secret_file"),
        ("argocd", {"applications": "generated"}, "applications"),
        ("argocd", {"namespace": 3}, "namespace"),
        ("flux", {"receiver_url": "https://flux.example"}, "token_file"),
    ],
)
def test_a_wrong_setting_is_named_with_its_cluster(sync: str, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid, match=rf"clusters\.yaml: east: {sync}.*{field}"):
        made(sync, **settings)
