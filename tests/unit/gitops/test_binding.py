"""Where an environment's services run: the names, and the namespaces that are nobody's to take."""

from __future__ import annotations

import pytest

from gitops.binding import namespace_of, read, reserved
from pipeline.errors import Invalid


def test_an_environment_without_a_word_is_on_the_default_and_healed() -> None:
    assert read({}, "environments.production") == ("", "", "heal")


def test_the_namespace_is_made_of_project_and_environment_unless_it_is_named() -> None:
    assert namespace_of("shop", "production") == "shop-production"
    assert namespace_of("shop", "production", "store") == "store"


@pytest.mark.parametrize("namespace", ["kube-system", "kube-anything", "argocd", "enclii", "flux-system"])
def test_a_namespace_of_the_platform_is_refused(namespace: str) -> None:
    with pytest.raises(Invalid, match="the platform's"):
        read({"namespace": namespace}, "environments.production")


def test_a_project_and_an_environment_cannot_make_up_the_platforms_name_either() -> None:
    assert reserved(namespace_of("kube", "system"))
    assert not reserved(namespace_of("cube", "system"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cluster": "Not A Name"}, "cluster"),
        ({"namespace": "UPPER"}, "namespace"),
        ({"namespace": 7}, "namespace"),
        ({"drift": "ignore"}, "drift must be heal or keep"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read(fields, "environments.production")
