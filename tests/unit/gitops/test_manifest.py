"""Manifests as Kubernetes reads them; that these are kubectl's own values is judged on the kit's cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops.syncing import manifest
from pipeline.errors import Invalid

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 8)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0644", 420),
        ("'0644'", "0644"),
        ("yes", True),
        ("No", False),
        ("1:30", "1:30"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
        ("2026-13-45", "2026-13-45"),
        ("1_000", 1000),
        ("1e3", 1000),
        ("08", 8),
        ("1.10", 1.1),
        ("1.2.3", "1.2.3"),
        ("", None),
        ("!!str 5", "5"),
        ('!!int "5"', 5),
        ("!!binary aGVsbG8=", "hello"),
        ("9" * 5_000, "9" * 5_000),
        ("{y: 1, 0644: 2}", {"true": 1, "420": 2}),
        ("[&a {p: 1}, {p: 2, <<: *a}, {<<: *a, p: 2}]", [{"p": 1}, {"p": 1}, {"p": 2}]),
        ("[&a {p: 1}, {<<: [*a, {p: 3, z: 4}]}]", [{"p": 1}, {"p": 1, "z": 4}]),
    ],
)
def test_values_are_read_as_kubernetes_reads_them(text: str, value: Any) -> None:
    (found,) = manifest.documents(f"x: {text}\n".encode())

    assert found == {"x": value}
    assert type(found["x"]) is type(value)


@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]", BOMB, "a: " + "[" * 3_000 + "]" * 3_000, "a: 1\na: 2", "<<: 5", "? {a: b}\n: c", "a: !!int x",
     "a: !foo 5", "a: !!binary 5", "a:\n\t- b"],
)  # fmt: skip
def test_what_has_no_one_bounded_value_is_invalid(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        manifest.documents(text.encode())

    assert caught.value.reason == "bad_yaml"


@given(st.text(max_size=80))
def test_any_text_has_values_or_is_invalid(text: str) -> None:
    try:
        manifest.documents(text.encode("utf-8", "surrogatepass"))
    except Invalid:
        return
