"""What the readers of people's YAML files take, and what they say of the rest."""

from __future__ import annotations

import pytest

from gitops.fields import PROJECT, File
from pipeline.errors import Invalid


def test_what_is_absent_is_empty() -> None:
    assert (PROJECT.mapping(None, "a"), PROJECT.items(None, "a"), PROJECT.names(None, "a")) == ({}, [], ())


def test_a_name_counts_once() -> None:
    assert PROJECT.names(["b", "a", "b"], "approvers") == ("b", "a")


@pytest.mark.parametrize("value", ["a", [1], [""], ["a\nb"], ["a"] * 101])
def test_what_is_no_list_of_names_is_refused(value: object) -> None:
    with pytest.raises(Invalid, match=r"project\.yaml: approvers must be a list"):
        PROJECT.names(value, "approvers")


def test_an_unknown_key_is_told_beside_the_known_ones() -> None:
    with pytest.raises(Invalid) as refused:
        File("x.yaml", "bad_x").mapping({"klass": 1}, "ingress", frozenset({"class", "gateway"}))

    assert refused.value.message == "x.yaml: ingress has an unknown key 'klass'; known are class, gateway"
    assert refused.value.reason == "bad_x"


@pytest.mark.parametrize("value", [1, "true", None])
def test_only_true_and_false_are_a_switch(value: object) -> None:
    with pytest.raises(Invalid, match="must be true or false"):
        PROJECT.switch(value, "protected")
