from __future__ import annotations

import pytest

from gitops.editing import spans, yamlpath
from pipeline.errors import Invalid


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a.b-c.d_e", ("a", "b-c", "d_e")),
        ("a[2].b", ("a", 2, "b")),
        ("[0]", (0,)),
        ("a[name=web].image", ("a", ("name", "web"), "image")),
        ('a[name="x]y"]', ("a", ("name", "x]y"))),
        ('metadata."example.com/x"', ("metadata", "example.com/x")),
    ],
)
def test_a_path_is_read_into_its_steps(text: str, steps: tuple[yamlpath.Step, ...]) -> None:
    assert yamlpath.parsed(text) == steps


@pytest.mark.parametrize("text", ["", ".", "a.", "a..b", "a[", "a[x]", "a]b", ".a", 'a."b', "a[1]b"])
def test_what_is_no_path_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        yamlpath.parsed(text)


def test_a_document_may_be_said_by_its_number() -> None:
    file = spans.parse(b"a: b\n---\na: c\n")
    assert yamlpath.resolve(file, ("a",), document=1) == (1, "a")


def test_a_resolved_path_is_shown_as_it_may_be_written() -> None:
    assert yamlpath.shown((1, "a", 2, "x.y")) == 'a[2]."x.y" (document 1)'


def test_every_value_is_found_in_order_but_no_key() -> None:
    file = spans.parse(b"a: b\nc: [d, {e: f}]\n---\ng\n")
    assert [(path, node.value) for path, node in yamlpath.scalars(file)] == [
        ((0, "a"), "b"), ((0, "c", 0), "d"), ((0, "c", 1, "e"), "f"), ((1,), "g"),
    ]  # fmt: skip
