"""Edits of people's files, over files that hypothesis builds: nothing but the intended bytes, and back again."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from ruamel.yaml import YAML

from gitops.editing import pinning, spans
from gitops.editing.yamldiff import differences
from pipeline.images import ImageRef
from tests.support.config_files import FILE, HOST, PATH, Filled, files

NEW = ImageRef(HOST, PATH, "sha256:" + "0123456789abcdef" * 4)
EXAMPLES = settings(max_examples=300)


def edited(file: Filled, data: bytes) -> bytes:
    changed = pinning.edited([file.target], {FILE: data}, image=NEW, tag="v42")
    return changed.get(FILE, data)


@EXAMPLES
@given(files())
def test_an_edit_is_the_file_with_the_new_values_where_the_old_ones_stood(file: Filled) -> None:
    assert edited(file, file.data) == file.edited(NEW, "v42")


@EXAMPLES
@given(files())
def test_an_edit_that_is_made_again_changes_nothing(file: Filled) -> None:
    once = edited(file, file.data)
    assert edited(file, once) == once
    assert pinning.image_of([file.target], {FILE: once}) == str(NEW)


@EXAMPLES
@given(files())
def test_going_back_brings_back_every_byte(file: Filled) -> None:
    now = edited(file, file.data)
    back = pinning.restored([file.target], {FILE: now}, {FILE: file.data})
    assert back == {FILE: file.data}


@EXAMPLES
@given(files())
def test_exactly_as_many_values_differ_as_were_meant(file: Filled) -> None:
    before, after = spans.parse(file.data), spans.parse(edited(file, file.data))
    changed = [part for part, old in zip(file.parts, file.values, strict=True) if part and old]
    assert len(list(differences(before, after))) <= len(changed)
    assert all(one.new is not None and one.old != one.new for one in differences(before, after))


@settings(max_examples=60)
@given(files())
def test_another_parser_sees_only_the_intended_values_differ(file: Filled) -> None:
    before, after = _leaves(file.data), _leaves(edited(file, file.data))
    assert before.keys() == after.keys()
    changed = {path: (before[path], after[path]) for path in before if before[path] != after[path]}
    news = {"registry": HOST, "name": PATH, "repository": f"{HOST}/{PATH}", "image": str(NEW), "digest": NEW.digest}
    news |= {"tag": "v42", "pinned": f"v42@{NEW.digest}"}
    meant = {old: news[part] for old, part in zip(file.values, file.parts, strict=True) if old != news[part]}
    assert sorted(changed.values()) == sorted(meant.items())


def _leaves(data: bytes) -> dict[str, Any]:
    """Path → value of every leaf, as ruamel reads the file."""
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, f"{path}/{key}")
        elif isinstance(value, list):
            for index, below in enumerate(value):
                walk(below, f"{path}/{index}")
        else:
            found[path] = value

    for number, document in enumerate(YAML(typ="safe", pure=True).load_all(data.replace(b"\t", b" "))):
        walk(document, str(number))
    return found
