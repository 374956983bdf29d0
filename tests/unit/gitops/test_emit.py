"""Plain data as YAML, judged by a YAML parser."""

from __future__ import annotations

import io

import pytest
from ruamel.yaml import YAML

from gitops import emit
from pipeline.errors import Invalid

HARD = [
    "", " ", "yes", "No", "null", "~", "1", "1e3", "0x1f", "1:30", "-", "- a", "a: b", "a #b", "#a", "*a", "&a", "!a",
    "%a", "@a", "`a`", "'", '"', "\\", "a\nb", "\t", "\x00", "\x7f", "\x85", "\u2028", "\ufeff", "é", "😀", "a:",
    "2026-01-01", "{}", "[]", "|", ">", "?", "---", "...", "=", "<<", ".5", "+1", ".inf", "a" * 500, "http://host:80/x",
    "n", "Y",
]  # fmt: skip


def parsed(data: bytes) -> object:
    return YAML(typ="safe", pure=True).load(io.BytesIO(data))


@pytest.mark.parametrize("text", HARD)
def test_a_string_stays_the_string_that_it_is(text: str) -> None:
    assert parsed(emit.document({"key": text, "list": [text]})) == {"key": text, "list": [text]}


def test_nested_data_is_read_back_as_it_was() -> None:
    value = {"a": {"b": [{"c": 1, "d": {"e": True}}, {}, "x"], "f": {}, "g": []}, "h": None, "i": 1.5}
    assert parsed(emit.document(value, header="words")) == value


def test_the_header_is_the_first_line() -> None:
    assert emit.document({"a": 1}, header="words") == b"# words\na: 1\n"


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(Invalid):
        emit.document({"a": b"bytes"})


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(Invalid):
        emit.document({"a": "\ud800"})
