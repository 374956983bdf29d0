from __future__ import annotations

import pytest

from gitops.editing import spans, yamlpath
from gitops.editing.splice import prove, splice
from pipeline.errors import Invalid, Refused


def spliced(text: str, path: str, new: str) -> str:
    file = spans.parse(text.encode())
    return splice(file, {yamlpath.resolve(file, yamlpath.parsed(path)): new}).decode()


@pytest.mark.parametrize(
    ("before", "path", "new", "after"),
    [
        ("a: b\n", "a", "c", "a: c\n"),
        ("a: b", "a", "c", "a: c"),
        ("a: 'b' # c\n", "a", "it's", "a: 'it''s' # c\n"),
        ('a: "b"\n', "a", 'q"\\', 'a: "q\\"\\\\"\n'),
        ("a: 'b'\n", "a", "q\n\x01", 'a: "q\\n\\x01"\n'),
        ("a: &x b # c\n", "a", "d", "a: &x d # c\n"),
        ("a: &x # c\n  b\n", "a", "d", "a: &x # c\n  d\n"),
        ("a: !!str b\n", "a", "d", "a: !!str d\n"),
        ("a:\nb: c\n", "a", "d", "a: d\nb: c\n"),
        ("a:   # c\n", "a", "d", "a: d   # c\n"),
        ("a: &x\nb: c\n", "a", "d", "a: &x d\nb: c\n"),
        ("a: ~\n", "a", "d", "a: d\n"),
        ("a:\n- \n- b\n", "a[0]", "d", "a:\n- d \n- b\n"),
        ("a: {b: c, d: }\n", "a.d", "e", "a: {b: c, d: e}\n"),
        ('{"a":"b"}', "a", "c", '{"a":"c"}'),
        ("a:\tb\n", "a", "c", "a:\tc\n"),
        ("a:\r\n  - b\r\n  - c\r\n", "a[1]", "d", "a:\r\n  - b\r\n  - d\r\n"),
        ("\ufeffä: ö\nb: c\n", "b", "é", '\ufeffä: ö\nb: "é"\n'),
        ("a: one\n  two  \n\nb: c\n", "a", "d", "a: d  \n\nb: c\n"),
        ("a: >-\n    b\n# c\nd: e\n", "a", "f", "a: >-\n    f\n# c\nd: e\n"),
        ("x: 1\n---\na: b\n", "a", "c", "x: 1\n---\na: c\n"),
        ("'a.b': {\"c[0]\": [d]}\n", '"a.b"."c[0]"[0]', "f", "'a.b': {\"c[0]\": [f]}\n"),
    ],
)
def test_a_value_is_replaced_and_its_style_and_surroundings_stay(before: str, path: str, new: str, after: str) -> None:
    assert spliced(before, path, new) == after


@pytest.mark.parametrize(
    "new", ["1.10", "0x1f", "true", "no", "~", "null", "12:30", "1e3", ".inf", "-", "a: b", "#x", ""]
)
def test_a_text_that_a_reader_would_take_for_something_else_gets_quotes(new: str) -> None:
    assert spliced("a: b\n", "a", new) == f'a: "{new}"\n'


@pytest.mark.parametrize("new", ["v1.10", "registry.example:5000/a/b@sha256:" + "0" * 64, "1.10-rc1", "a_b"])
def test_a_text_that_needs_no_quotes_gets_none(new: str) -> None:
    assert spliced("a: b\n", "a", new) == f"a: {new}\n"


def test_a_number_becomes_a_text_when_a_text_is_wanted() -> None:
    assert spliced("tag: 1.10\n", "tag", "1.10") == 'tag: "1.10"\n'


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("a: &x b\nc: *x\n", "a", "target_shared"),
        ("a: &x b\nc: *x\n", "c", "target_shared"),
        ("a: &x {b: c}\nd: *x\n", "a.b", "target_shared"),
        ("a: &x {b: c}\nd: {<<: *x}\n", "d.b", "target_shared"),
        ("a: &x {b: c}\nd: {<<: *x, b: e}\n", "a.b", "target_shared"),
        ("a: b\na: c\n", "a", "target_ambiguous"),
        ("a: b\n---\na: c\n", "a", "target_ambiguous"),
        ("a: b\n", "c", "target_missing"),
        ("a: [b]\n", "a[1]", "target_missing"),
        ("a: [{n: x, i: 1}, {n: x, i: 2}]\n", "a[n=x].i", "target_ambiguous"),
        ("a: {b: c}\n", "a", "target_not_scalar"),
        ("a: |\n  b\n", "a", "target_not_scalar"),
        ("a: >-\n  b\n  c\n", "a", "target_not_scalar"),
        ("a: |2-\n    b\n", "a", "edit_not_exact"),
    ],
)
def test_a_value_that_is_not_one_place_of_its_own_is_refused(text: str, path: str, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        spliced(text, path, "new")
    assert refusal.value.reason == reason


def test_a_merge_key_whose_mapping_has_the_value_itself_does_not_stand_in_the_way() -> None:
    text = "base: &x {b: c}\nd: {<<: *x, b: e}\n"
    assert spliced(text, "d.b", "f") == text.replace("b: e", "b: f")


@pytest.mark.parametrize(
    "data", [b"a: [", b"\xff\xfea", b"a: \x00", b"[" * 100_000, b"- " * 5_000, b"a: *b\n", b"a" * 2_000_000]
)
def test_what_is_no_yaml_or_too_much_of_it_is_invalid(data: bytes) -> None:
    with pytest.raises(Invalid):
        spans.parse(data)


@pytest.mark.parametrize(
    "new",
    [
        b"a: c\nb: d\n",
        b"a: c\nb: e\n# more: x\nf: g\n",
        b"a: c\n",
        b"a: [\n",
        b"a: c\nb: &x e\n",
        b"a: c\nb: !t e\n",
        b"a: c\nb: 'e'\n---\n",
    ],
)
def test_a_result_that_differs_in_anything_else_is_refused_with_the_difference(new: bytes) -> None:
    file = spans.parse(b"a: b\nb: e\n")
    with pytest.raises(Refused) as refusal:
        prove(file, new, {(0, "a"): ("b", "c")})
    assert refusal.value.reason == "edit_not_exact"
    assert "-a: b" in refusal.value.message


def test_several_values_of_one_file_are_replaced_at_once() -> None:
    file = spans.parse(b"a: long value here\nb: [x, y]\n")
    assert splice(file, {(0, "b", 1): "longer", (0, "a"): "s", (0, "b", 0): "z"}) == b"a: s\nb: [z, longer]\n"
