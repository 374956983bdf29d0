"""Sealed values: only the key's holder opens them, and only for what they were sealed for."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Invalid
from pipeline.sealing import load_or_make, seal
from pipeline.secret_requests import context

HERE = context("shop", "production", "web", "TOKEN")
VALUE = b"hunter2"


def test_the_holder_of_the_key_opens_what_was_sealed(tmp_path: Path) -> None:
    opener = load_or_make(tmp_path / "key")

    assert opener.open(seal(VALUE, to=opener.public, context=HERE), context=HERE) == VALUE


def test_the_same_value_is_never_sealed_to_the_same_bytes(tmp_path: Path) -> None:
    opener = load_or_make(tmp_path / "key")
    one, other = (seal(VALUE, to=opener.public, context=HERE) for _ in range(2))

    assert one != other
    assert VALUE not in one


@pytest.mark.parametrize("moved", [("shop", "staging", "web", "TOKEN"), ("shop", "production", "web", "OTHER")])
def test_a_value_cannot_be_moved_to_another_place(tmp_path: Path, moved: tuple[str, str, str, str]) -> None:
    opener = load_or_make(tmp_path / "key")
    sealed = seal(VALUE, to=opener.public, context=HERE)

    with pytest.raises(Invalid) as caught:
        opener.open(sealed, context=context(*moved))
    assert caught.value.reason == "not_sealed"


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    sealed = seal(VALUE, to=load_or_make(tmp_path / "one").public, context=HERE)

    with pytest.raises(Invalid):
        load_or_make(tmp_path / "other").open(sealed, context=HERE)


@given(sealed=st.binary(max_size=100))
def test_bytes_that_nobody_sealed_are_refused(sealed: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    opener = load_or_make(tmp_path_factory.getbasetemp() / "shared-key")

    with pytest.raises(Invalid):
        opener.open(sealed, context=HERE)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = load_or_make(tmp_path / "key")

    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert load_or_make(tmp_path / "key").public == first.public


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    load_or_make(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)

    with pytest.raises(Invalid, match="chmod 600"):
        load_or_make(tmp_path / "key")
