"""Paths of the config repository."""

from __future__ import annotations

import pytest

from gitops import layout
from pipeline.errors import Invalid


def test_a_place_is_a_path_and_back() -> None:
    here = layout.place("shop", "production", "web")
    assert layout.place_of(here.path) == here


@pytest.mark.parametrize("bad", ["..", "", "a/b", "-x", "Web", ".git"])
def test_what_is_no_name_makes_no_path(bad: str) -> None:
    with pytest.raises(Invalid):
        layout.place("shop", "production", bad)


@pytest.mark.parametrize("path", ["shop", "shop/production", "a/b/c/d", "shop/../web", "shop//web"])
def test_another_shape_is_no_place(path: str) -> None:
    assert layout.place_of(path) is None


def test_the_hold_is_no_manifest() -> None:
    assert [name for name in ("hold.yaml", "a.yaml", "b.yml", ".c.yaml", "notes") if layout.is_manifest(name)] == [
        "a.yaml",
        "b.yml",
    ]
